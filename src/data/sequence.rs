//! Items of a sequence, whether a list or a text holds them.

use super::cell::Cell;
use super::id::Id;

/// How many items there are; `None` where there cannot be any.
pub(super) fn length(cell: Cell, separator: Option<&str>) -> Option<i64> {
    match cell {
        Cell::Null => Some(0),
        Cell::Text(t) => i64::try_from(items(t, separator).count()).ok(),
        Cell::List(_, from, to) => i64::try_from(to - from).ok(),
        _ => None,
    }
}

/// The items of a text; an empty text has none.
fn items<'a>(text: &'a str, separator: Option<&'a str>) -> impl Iterator<Item = &'a str> {
    let there = !text.is_empty();
    let separated = separator.filter(|_| there).map(|s| text.split(s));
    let whole = (separator.is_none() && there).then_some(text);
    separated.into_iter().flatten().chain(whole)
}

/// Calls `each` with every item, in the order of the cell. What is null or empty within a list keeps its place: sequences
/// side by side stay aligned.
pub(super) fn for_each(
    cell: Cell,
    separator: Option<&str>,
    each: &mut dyn FnMut(Option<Id>),
) -> Result<(), &'static str> {
    match cell {
        Cell::Null => Ok(()),
        Cell::Text(t) => {
            items(t, separator).for_each(|t| each((!t.is_empty()).then(|| Id::of(t))));
            Ok(())
        }
        Cell::List(of, from, to) => {
            let mut spelt = String::new();
            for row in from..to {
                each(of.cell(row).id(&mut spelt)?);
            }
            Ok(())
        }
        _ => Err("a list of ids"),
    }
}
