//! Paths with `*` and `?`.

use std::path::{Component, Path, PathBuf};

use super::Error;

/// What is read of a folder.
const EXTENSIONS: [&str; 3] = ["parquet", "csv", "tsv"];

/// The files that a path, a folder or a pattern stands for, in the order of their names.
pub(super) fn expand(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let has_pattern = |c: &Component| c.as_os_str().to_string_lossy().contains(['*', '?']);
    // A name may hold these characters.
    let files = match path.components().any(|c| has_pattern(&c)) && !path.exists() {
        true => matching(path)?,
        false if path.is_dir() => {
            let data = |p: &PathBuf| p.extension().is_some_and(|e| EXTENSIONS.iter().any(|x| e == *x));
            entries(path)?.into_iter().filter(data).collect()
        }
        false => vec![path.to_path_buf()],
    };
    match files.is_empty() {
        true => Err(Error::NoFile {
            pattern: path.display().to_string(),
        }),
        false => Ok(files),
    }
}

fn matching(pattern: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let part = component.as_os_str().to_string_lossy();
        let mut next = Vec::new();
        for path in found {
            if !part.contains(['*', '?']) {
                next.push(path.join(component));
                continue;
            }
            let folder = if path.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &path
            };
            if folder.is_dir() {
                let names = entries(folder)?
                    .into_iter()
                    .filter_map(|p| Some(p.file_name()?.to_owned()));
                let fitting = names.filter(|n| fits(&part, &n.to_string_lossy()));
                next.extend(fitting.map(|n| path.join(n)));
            }
        }
        found = next;
    }
    found.retain(|p| p.is_file());
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io {
        path: folder.to_path_buf(),
        source,
    };
    let entries: Result<Vec<_>, _> = std::fs::read_dir(folder).map_err(io)?.collect();
    let mut paths: Vec<_> = entries.map_err(io)?.into_iter().map(|e| e.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Whether a name fits a pattern: `*` any characters, `?` one. A leading dot is matched by a dot alone.
fn fits(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    if n.first() == Some(&'.') && p.first() != Some(&'.') {
        return false;
    }
    let (mut i, mut j) = (0, 0);
    // Where the last `*` stood, and how far the name had been read.
    let mut star: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => (i, j) = (i + 1, j + 1),
            _ => match &mut star {
                None => return false,
                Some((at, read)) => {
                    *read += 1;
                    (i, j) = (*at + 1, *read);
                }
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("*", "a"),
            ("a*c", "abcbc"),
            ("part-?.csv", "part-1.csv"),
            ("day=*", "day=1"),
            ("**", ""),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*", ".tmp"), ("a*c", "abcb"), ("?", ""), ("a", "ab")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
