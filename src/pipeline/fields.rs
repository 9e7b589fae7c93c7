//! Sizes of tables that the log knows better than whoever declares a model.

use indexmap::IndexMap;
use toml::Value;

/// Gives every field without a `vocabulary` the one that its feature was fitted with.
pub(super) fn sized(model: &mut toml::Table, sizes: &IndexMap<String, usize>) {
    let Some(Value::Array(fields)) = model.get_mut("fields") else {
        return;
    };
    for field in fields {
        let Value::Table(field) = field else { continue };
        let size = field
            .get("name")
            .and_then(Value::as_str)
            .and_then(|name| sizes.get(name));
        if let (Some(size), false) = (size, field.contains_key("vocabulary")) {
            field.insert("vocabulary".into(), (*size as i64).into());
        }
    }
}
