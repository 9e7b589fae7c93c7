//! Functions of `shaders/` that a kernel calls, taken by name.

use std::collections::BTreeSet;

/// Files of functions; each is valid WGSL by itself.
const FILES: &[&str] = &[
    include_str!("../../shaders/pack.wgsl"),
    include_str!("../../shaders/math.wgsl"),
    include_str!("../../shaders/guard.wgsl"),
    include_str!("../../shaders/random.wgsl"),
];

/// The functions that `body` calls, and those they call, in the order of the files.
pub(super) fn functions(body: &str) -> String {
    let all: Vec<(&str, &str)> = FILES.iter().flat_map(|f| split(f)).collect();
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    let mut texts = vec![body];
    while let Some(text) = texts.pop() {
        for (i, (name, source)) in all.iter().enumerate() {
            if calls(text, name) && wanted.insert(i) {
                texts.push(source);
            }
        }
    }
    wanted.into_iter().map(|i| all[i].1).collect()
}

/// Whether `text` calls the function `name`.
fn calls(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let word = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        !word && text[at + name.len()..].starts_with('(') && !text[..at].ends_with("fn ")
    })
}

/// Name and text of each function of a file. Functions start at the beginning of a line and end with a line `}`, or on
/// the same line.
fn split(file: &str) -> Vec<(&str, &str)> {
    let mut list = Vec::new();
    let mut rest = file;
    while let Some(start) = rest
        .find("fn ")
        .filter(|s| *s == 0)
        .or_else(|| rest.find("\nfn ").map(|s| s + 1))
    {
        let text = &rest[start..];
        let first = text.find('\n').map_or(text.len(), |e| e + 1);
        let end = if text[..first].trim_end().ends_with('}') {
            first
        } else {
            text.find("\n}").map_or(text.len(), |e| e + 3)
        };
        let end = end.min(text.len());
        let name = text[3..].split('(').next().unwrap_or_default();
        list.push((name, &text[..end]));
        rest = &text[end..];
    }
    list
}
