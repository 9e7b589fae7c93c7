//! From a step to its pieces.

use std::collections::{BTreeMap, BTreeSet};

use super::tables::{extent, find, folds_rows, is_site, row_by_row};
use super::{Error, NEXT, Over, Piece, Site, Source, Target};
use crate::ir::{Graph, Node, Op, TensorType, Value};
use crate::tensor::{Dim, Shape};

/// A piece before it is built: how many changes between batch and tables it waits for, and the table it is about.
type Key = (usize, Option<Value>);

/// Takes a step apart. Without sums into tables, or where tables are updated whole, it stays in one piece.
///
/// # Errors
/// [`Error::NoParam`] and [`Error::Type`] for outputs that replace nothing.
pub fn split(step: &Graph) -> Result<Vec<Piece>, Error> {
    check(step)?;
    let keys = keys(step, &find(step));
    let mut members: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for (v, _) in step.iter() {
        if let Some(key) = keys[v.index()] {
            members.entry(key).or_default().push(v);
        }
    }
    // An output that is a leaf belongs to the first piece.
    members.entry((0, None)).or_default();
    let mut builders = Vec::new();
    for (key, members) in &members {
        let mut builder = Builder::new(step, &keys, *key);
        for v in members {
            builder.at(*v, key.1.is_some())?;
        }
        builders.push(builder);
    }
    let crossing: BTreeSet<Value> = builders.iter().flat_map(Builder::reads).collect();
    builders.into_iter().map(|b| b.finish(&crossing)).collect()
}

fn check(step: &Graph) -> Result<(), Error> {
    for (output, v) in &step.outputs {
        let Some(name) = output.strip_prefix(NEXT) else {
            continue;
        };
        let param = step.params().find(|(_, p, _)| *p == name);
        let (_, _, ty) = param.ok_or_else(|| Error::NoParam { name: name.to_owned() })?;
        if ty != step.ty(*v) {
            return Err(Error::Type {
                name: name.to_owned(),
                seen: step.ty(*v).to_string(),
                expected: ty.to_string(),
            });
        }
    }
    Ok(())
}

/// The piece of every value that is computed; leaves are inputs wherever they are read.
fn keys(step: &Graph, tables: &[Option<Value>]) -> Vec<Option<Key>> {
    let mut keys: Vec<Option<Key>> = vec![None; step.len()];
    let live = step.live();
    for (v, n) in step.iter().filter(|(v, n)| live[v.index()] && !n.op.is_leaf()) {
        let table = tables[v.index()];
        let of_arg = |a: &Value| keys[a.index()].map(|(epoch, of)| epoch + usize::from(of != table));
        keys[v.index()] = Some((n.args.iter().filter_map(of_arg).max().unwrap_or(0), table));
    }
    keys
}

/// One piece under construction.
struct Builder<'a> {
    step: &'a Graph,
    keys: &'a [Option<Key>],
    key: Key,
    graph: Graph,
    /// What values of the step have become, read row by row or whole.
    known: BTreeMap<(Value, bool), Value>,
    inputs: Vec<(String, Source)>,
    sites: Vec<Site>,
}

impl<'a> Builder<'a> {
    fn new(step: &'a Graph, keys: &'a [Option<Key>], key: Key) -> Self {
        Self {
            step,
            keys,
            key,
            graph: Graph::new(),
            known: BTreeMap::new(),
            inputs: Vec::new(),
            sites: Vec::new(),
        }
    }

    /// Values of other pieces that this one reads.
    fn reads(&self) -> impl Iterator<Item = Value> {
        let sites = self.sites.iter().flat_map(|s| [&s.updates, &s.index]);
        let sources = self.inputs.iter().map(|(_, source)| source).chain(sites);
        sources.filter_map(|source| match source {
            Source::Value(v) => Some(*v),
            Source::Batch(_) | Source::State(_) | Source::Rows(_) | Source::Site(_) => None,
        })
    }

    /// Adds the outputs: those of the step that are computed here, and what other pieces read.
    fn finish(mut self, crossing: &BTreeSet<Value>) -> Result<Piece, Error> {
        let in_table = self.key.1.is_some();
        let is_mine = |v: Value| self.keys[v.index()].unwrap_or((0, None)) == self.key;
        let mut wanted: Vec<(String, Value, Target)> = Vec::new();
        for (name, v) in self.step.outputs.iter().filter(|(_, v)| is_mine(*v)) {
            let target = match name.strip_prefix(NEXT) {
                None => Target::Metric(name.clone()),
                Some(param) if in_table => Target::NextRows(param.to_owned()),
                Some(param) => Target::Next(param.to_owned()),
            };
            wanted.push((name.clone(), *v, target));
        }
        let crossing = crossing.iter().filter(|v| is_mine(**v));
        wanted.extend(crossing.map(|v| (v.to_string(), *v, Target::Value(*v))));
        let mut outputs = Vec::new();
        for (name, v, target) in wanted {
            let new = self.at(v, in_table)?;
            self.graph.outputs.push((name, new));
            outputs.push(target);
        }
        let over = match self.key.1 {
            None => Over::Batch,
            Some(table) => Over::Table {
                extent: extent(self.step, table),
                sites: self.sites,
            },
        };
        Ok(Piece {
            graph: self.graph,
            over,
            inputs: self.inputs,
            outputs,
        })
    }

    /// What a value has become. In a piece over a table it may be read row by row.
    fn at(&mut self, v: Value, by_row: bool) -> Result<Value, Error> {
        if let Some(new) = self.known.get(&(v, by_row)) {
            return Ok(*new);
        }
        let n = self.step.node(v);
        let scope = self.graph.enter(self.step.scope_of(v));
        let new = match (&n.op, by_row) {
            (Op::Const(_) | Op::Iota, _) => self.graph.declare(n.op.clone(), &[], n.ty.clone())?,
            (Op::Input(name), _) => self.input(name.clone(), n.ty.clone(), Source::Batch(name.clone()))?,
            (Op::Param(name), false) => {
                self.input(format!("state.{name}"), n.ty.clone(), Source::State(name.clone()))?
            }
            (Op::Param(name), true) => {
                self.input(format!("rows.{name}"), over_rows(&n.ty), Source::Rows(name.clone()))?
            }
            (_, false) if self.keys[v.index()] != Some(self.key) => {
                self.input(v.to_string(), n.ty.clone(), Source::Value(v))?
            }
            (_, true) if is_site(self.step, n) => self.site(v, n)?,
            (_, true) => self.row_by_row(n)?,
            (_, false) => {
                let args: Result<Vec<Value>, Error> = n.args.iter().map(|a| self.at(*a, false)).collect();
                self.graph.declare(n.op.clone(), &args?, n.ty.clone())?
            }
        };
        self.graph.leave(scope);
        self.known.insert((v, by_row), new);
        Ok(new)
    }

    /// An input of the piece, under this name unless another source has it.
    fn input(&mut self, mut name: String, ty: TensorType, source: Source) -> Result<Value, Error> {
        while self.inputs.iter().any(|(known, of)| *known == name && *of != source) {
            name.push('\'');
        }
        let v = self.graph.declare(Op::Input(name.clone()), &[], ty)?;
        if self.inputs.iter().all(|(known, _)| *known != name) {
            self.inputs.push((name, source));
        }
        Ok(v)
    }

    /// Where a value of another piece, or a leaf, is found.
    fn whole(&self, v: Value) -> Source {
        match self.step.op(v) {
            Op::Input(name) => Source::Batch(name.clone()),
            Op::Param(name) => Source::State(name.clone()),
            _ => Source::Value(v),
        }
    }

    fn site(&mut self, v: Value, n: &Node) -> Result<Value, Error> {
        let site = self.input(format!("sum.{v}"), over_rows(&n.ty), Source::Site(self.sites.len()))?;
        self.sites.push(Site {
            updates: self.whole(n.args[0]),
            index: self.whole(n.args[1]),
        });
        Ok(site)
    }

    /// An operation on the rows of a table, or a sum over them.
    fn row_by_row(&mut self, n: &Node) -> Result<Value, Error> {
        let folds = folds_rows(n);
        let by_row = row_by_row(self.step, n).unwrap_or_else(|| vec![folds; n.args.len()]);
        let args = n.args.iter().zip(by_row).map(|(a, by_row)| self.at(*a, by_row));
        let args = args.collect::<Result<Vec<Value>, Error>>()?;
        let ty = if folds { n.ty.clone() } else { over_rows(&n.ty) };
        Ok(self.graph.declare(n.op.clone(), &args, ty)?)
    }
}

/// The type of some rows of a value.
fn over_rows(ty: &TensorType) -> TensorType {
    let others = ty.shape.0.iter().skip(1).copied();
    let dims = std::iter::once(Dim::Rows(1)).chain(others).collect();
    TensorType::new(ty.dtype, Shape(dims))
}
