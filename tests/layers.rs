//! The floor table of `src/lib.rs`, enforced: imports go down, neighbours are strangers, every module has a floor.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn modules_import_only_from_floors_below() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let tour = fs::read_to_string(src.join("lib.rs")).unwrap();
    let floors: BTreeMap<&str, u32> = tour.lines().filter_map(floor).collect();
    let declared: Vec<&str> = tour.lines().filter_map(module).collect();
    assert_eq!(
        floors.keys().copied().collect::<Vec<_>>(),
        declared,
        "table and modules"
    );
    let mut faults = Vec::new();
    for path in sources(&src) {
        let file = path.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
        let Some((own, floor)) = floors.get_key_value(file.split(['/', '.']).next().unwrap()) else {
            continue; // lib.rs and bin/
        };
        let text = fs::read_to_string(&path).unwrap();
        // Comments may speak of anyone.
        let code: Vec<&str> = text.lines().map(|l| l.split("//").next().unwrap()).collect();
        for name in code.join("\n").split("crate::").skip(1).flat_map(first_names) {
            let allowed = name == *own || floors.get(name.as_str()).is_some_and(|below| below < floor);
            if !allowed {
                faults.push(format!("src/{file}: `{own}` may not import `{name}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The module of a row of the table, and its floor.
fn floor(line: &str) -> Option<(&str, u32)> {
    let mut cells = line.strip_prefix("//! |")?.split('|').map(str::trim);
    let floor = cells.next()?.parse().ok()?;
    Some((cells.next()?.strip_prefix("[`")?.split('`').next()?, floor))
}

fn module(line: &str) -> Option<&str> {
    line.strip_prefix("pub mod ")?.strip_suffix(';')
}

/// The modules that a path, or a group of paths in braces, starts with.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()];
    };
    let (mut depth, mut names) = (0, vec![String::new()]);
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            '{' => depth += 1,
            ',' if depth == 0 => names.push(String::new()),
            c if depth == 0 => names.last_mut().unwrap().push(c),
            _ => {}
        }
    }
    names
        .iter()
        .flat_map(|name| first_names(name.trim()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .collect()
}
