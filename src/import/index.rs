//! Sharded checkpoints: `model.safetensors.index.json` names the shard of every tensor.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::Error;
use super::checkpoint::{Shard, io_error, read_text};
use crate::container::MAX_TENSORS;

/// Most shards of a checkpoint; all are open at once.
const MAX_SHARDS: usize = 256;

#[derive(Deserialize)]
struct Index {
    weight_map: WeightMap,
}

/// Opens every shard that an index names and checks that together they hold what it says.
pub(super) fn open(path: &Path) -> Result<Vec<Shard>, Error> {
    let index: Index = serde_json::from_str(&read_text(path)?).map_err(|e| Error::Json {
        path: path.to_path_buf(),
        why: e.to_string(),
    })?;
    let mut tensors_of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, shard) in &index.weight_map.0 {
        tensors_of.entry(shard).or_default().insert(tensor);
    }
    if tensors_of.len() > MAX_SHARDS {
        return Err(Error::Json {
            path: path.to_path_buf(),
            why: format!("names {} shards, at most {MAX_SHARDS} are read", tensors_of.len()),
        });
    }
    let mut shards = Vec::with_capacity(tensors_of.len());
    let mut problems = Vec::new();
    for (name, expected) in tensors_of {
        let shard = Shard::open(&inside(path, name)?)?;
        let seen: BTreeSet<&str> = shard.reader.header.tensors.iter().map(|t| t.name.as_str()).collect();
        let missing = expected.difference(&seen);
        problems.extend(missing.map(|t| format!("tensor `{t}` is not in `{name}`, where the index puts it")));
        let unexpected = seen.difference(&expected);
        problems.extend(unexpected.map(|t| format!("tensor `{t}` of `{name}` is not there by the index")));
        shards.push(shard);
    }
    if problems.is_empty() {
        Ok(shards)
    } else {
        Err(Error::Shards {
            path: path.to_path_buf(),
            problems,
        })
    }
}

/// The path of a shard: a plain name, and a file that lies where the index lies even when links are followed.
fn inside(index: &Path, name: &str) -> Result<PathBuf, Error> {
    let mut parts = Path::new(name).components();
    // A backslash separates folders on one system and is a letter on another.
    let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
        && !name.contains(['\\', ':'])
        && !name.chars().any(char::is_control);
    if !plain {
        return Err(Error::ShardName {
            path: index.to_path_buf(),
            name: name.escape_debug().to_string(),
        });
    }
    let folder = match index.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let folder = fs::canonicalize(folder).map_err(|e| io_error(folder, e))?;
    let link = folder.join(name);
    let target = fs::canonicalize(&link).map_err(|e| io_error(&link, e))?;
    if target.parent() == Some(&folder) {
        Ok(target)
    } else {
        Err(Error::ShardEscapes {
            path: index.to_path_buf(),
            name: name.to_owned(),
            target,
        })
    }
}

/// The metadata of all files together. Ours must not differ between shards; of others' the first one stands.
pub(super) fn joined_metadata(files: &mut [Shard]) -> Result<BTreeMap<String, String>, Error> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for file in files {
        for (key, text) in std::mem::take(&mut file.reader.header.metadata) {
            let first = joined.entry(key.clone()).or_insert_with(|| text.clone());
            if *first != text && key.starts_with("loopfm.") {
                return Err(Error::ShardMetadata {
                    path: file.path.clone(),
                    key,
                });
            }
        }
    }
    Ok(joined)
}

/// Shards by tensor, each tensor once.
struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that gives each tensor its shard")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut shards = BTreeMap::new();
                while let Some((tensor, shard)) = map.next_entry::<String, String>()? {
                    if shards.len() == MAX_TENSORS {
                        return Err(de::Error::custom(format!("more than {MAX_TENSORS} tensors")));
                    }
                    if shards.insert(tensor.clone(), shard).is_some() {
                        return Err(de::Error::custom(format!("tensor `{tensor}` appears twice")));
                    }
                }
                Ok(WeightMap(shards))
            }
        }
        json.deserialize_map(Map)
    }
}
