//! The text form of a graph, read.

use super::graph::{Graph, TensorType, Value};
use super::op::{Binary, Fold, Op, Scalar, Unary};
use super::text::HEADER;
use crate::tensor::{DType, Dim, Shape};

/// Text that is not a graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("graph text, line {line}: {why}")]
pub struct ParseError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong there.
    pub why: String,
}

/// Reads the text form and checks every type.
///
/// # Errors
/// [`ParseError`] with the line and what was expected there.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    let mut g = Graph::new();
    let mut ids: Vec<Value> = Vec::new();
    let mut done = false;
    let mut lines = text.lines().enumerate();
    let first = lines.next().map(|(_, l)| l);
    if first != Some(HEADER) {
        return Err(ParseError {
            line: 1,
            why: format!("expected `{HEADER}`, found `{}`", first.unwrap_or("")),
        });
    }
    for (i, line) in lines {
        let at = |why: String| ParseError { line: i + 1, why };
        if done {
            return Err(at("text after `return`".into()));
        }
        let mut c = Cursor(line.trim());
        if c.eat("return") {
            g.outputs = returns(&mut c, &ids).map_err(at)?;
            done = true;
        } else {
            let v = node(&mut c, &mut g, &ids).map_err(at)?;
            ids.push(v);
        }
        if !c.0.is_empty() {
            return Err(at(format!("`{}` is left over", c.0)));
        }
    }
    if done {
        Ok(g)
    } else {
        Err(ParseError {
            line: text.lines().count(),
            why: "no `return` line".into(),
        })
    }
}

fn returns(c: &mut Cursor, ids: &[Value]) -> Result<Vec<(String, Value)>, String> {
    let mut outputs: Vec<(String, Value)> = Vec::new();
    loop {
        let name = c.string()?;
        if outputs.iter().any(|(n, _)| *n == name) {
            return Err(format!("output `{name}` is returned twice"));
        }
        c.expect("=")?;
        outputs.push((name, c.value(ids)?));
        if !c.eat(",") {
            return Ok(outputs);
        }
    }
}

fn node(c: &mut Cursor, g: &mut Graph, ids: &[Value]) -> Result<Value, String> {
    c.expect("%")?;
    let id: usize = c.number()?;
    if id != ids.len() {
        return Err(format!("expected %{}, found %{id}", ids.len()));
    }
    c.expect("=")?;
    let name = c.word()?;
    let mut args = Vec::new();
    let op = match name {
        "input" => Op::Input(fresh(c.string()?, g)?),
        "param" => Op::Param(fresh(c.string()?, g)?),
        "iota" => Op::Iota,
        "const" => {
            let (value, rest) = c.0.split_once(':').ok_or("a constant has a value and a type")?;
            let scalar = scalar(value.trim(), rest.trim())?;
            c.0 = &c.0[value.len()..];
            Op::Const(scalar)
        }
        _ => {
            c.expect("(")?;
            while !c.eat(")") {
                if !args.is_empty() {
                    c.expect(",")?;
                }
                args.push(c.value(ids)?);
            }
            operation(name, c)?
        }
    };
    c.expect(":")?;
    let ty = c.tensor_type()?;
    let scope = if c.eat("@") { c.string()? } else { String::new() };
    let before = g.len();
    let former = g.enter(&scope);
    let v = g.declare(op, &args, ty).map_err(|e| e.to_string())?;
    g.leave(former);
    // A text is a graph only if its ids are the graph's: equal nodes must be one node.
    if g.len() == before {
        Err(format!("%{id} repeats {v}"))
    } else {
        Ok(v)
    }
}

fn fresh(name: String, g: &Graph) -> Result<String, String> {
    let taken = g
        .iter()
        .any(|(_, n)| matches!(&n.op, Op::Input(m) | Op::Param(m) if *m == name));
    if taken {
        Err(format!("`{name}` is defined twice"))
    } else {
        Ok(name)
    }
}

fn operation(name: &str, c: &mut Cursor) -> Result<Op, String> {
    if let Some(u) = Unary::parse(name) {
        return Ok(Op::Unary(u));
    }
    if let Some(b) = Binary::parse(name) {
        return Ok(Op::Binary(b));
    }
    if let Some(fold) = name.strip_prefix("reduce_").and_then(Fold::parse) {
        return Op::Reduce(fold, c.attribute("{", "axes", Cursor::list)?).and_close(c);
    }
    let axis = |c: &mut Cursor| c.attribute("{", "axis", Cursor::number);
    Ok(match name {
        "select" => Op::Select,
        "cast" => Op::Cast,
        "detach" => Op::Detach,
        "broadcast" => Op::Broadcast,
        "reshape" => Op::Reshape,
        "matmul" => Op::MatMul,
        "gru" => Op::Gru,
        "gru_grad" => Op::GruGrad,
        "permute" => Op::Permute(c.attribute("{", "perm", Cursor::list)?).and_close(c)?,
        "slice" => Op::Slice {
            axis: axis(c)?,
            start: c.attribute(",", "start", Cursor::number)?,
            stop: c.attribute(",", "stop", Cursor::number)?,
            step: c.attribute(",", "step", Cursor::number)?,
        }
        .and_close(c)?,
        "concat" => Op::Concat(axis(c)?).and_close(c)?,
        "gather" => Op::Gather(axis(c)?).and_close(c)?,
        "take_along" => Op::TakeAlong(axis(c)?).and_close(c)?,
        "cumsum" => Op::CumSum(axis(c)?).and_close(c)?,
        "scatter_add" => Op::ScatterAdd(axis(c)?).and_close(c)?,
        "uniform" => Op::Uniform(c.attribute("{", "stream", Cursor::number)?).and_close(c)?,
        _ => return Err(format!("unknown op `{name}`")),
    })
}

impl Op {
    fn and_close(self, c: &mut Cursor) -> Result<Self, String> {
        c.expect("}").map(|()| self)
    }
}

fn scalar(value: &str, ty: &str) -> Result<Scalar, String> {
    let parsed = match ty.split('[').next().and_then(DType::parse) {
        Some(DType::F32) => value.parse().ok().map(Scalar::F32),
        Some(DType::I32) => value.parse().ok().map(Scalar::I32),
        Some(DType::Bool) => value.parse().ok().map(Scalar::Bool),
        None => None,
    };
    parsed.ok_or_else(|| format!("`{value}` is no constant of type `{ty}`"))
}

/// What is left of a line.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.0.trim_start();
        rest.strip_prefix(token).map(|r| self.0 = r.trim_start()).is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(format!("expected `{token}` before `{}`", self.0))
        }
    }

    fn span(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|ch| !accept(ch)).unwrap_or(self.0.len());
        let (head, rest) = self.0.split_at(end);
        self.0 = rest.trim_start();
        head
    }

    fn word(&mut self) -> Result<&'a str, String> {
        let w = self.span(|ch| ch.is_ascii_alphanumeric() || ch == '_');
        if w.is_empty() {
            Err(format!("expected a name before `{}`", self.0))
        } else {
            Ok(w)
        }
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, String> {
        let w = self.span(|ch| ch.is_ascii_digit());
        w.parse()
            .map_err(|_| format!("expected a number before `{w}{}`", self.0))
    }

    fn list(&mut self) -> Result<Vec<usize>, String> {
        self.expect("[")?;
        let mut list = Vec::new();
        while !self.eat("]") {
            if !list.is_empty() {
                self.expect(",")?;
            }
            list.push(self.number()?);
        }
        Ok(list)
    }

    fn attribute<T>(&mut self, open: &str, key: &str, read: fn(&mut Self) -> Result<T, String>) -> Result<T, String> {
        self.expect(open)?;
        self.expect(key)?;
        self.expect("=")?;
        read(self)
    }

    fn string(&mut self) -> Result<String, String> {
        let mut stream = serde_json::Deserializer::from_str(self.0).into_iter::<String>();
        let s = stream
            .next()
            .and_then(Result::ok)
            .ok_or_else(|| format!("expected a string before `{}`", self.0))?;
        self.0 = self.0[stream.byte_offset()..].trim_start();
        Ok(s)
    }

    fn value(&mut self, ids: &[Value]) -> Result<Value, String> {
        self.expect("%")?;
        let id: usize = self.number()?;
        ids.get(id).copied().ok_or_else(|| format!("%{id} is not defined yet"))
    }

    fn tensor_type(&mut self) -> Result<TensorType, String> {
        let name = self.word()?;
        let dtype = DType::parse(name).ok_or_else(|| format!("unknown element type `{name}`"))?;
        self.expect("[")?;
        let mut dims = Vec::new();
        while !self.eat("]") {
            if !dims.is_empty() {
                self.expect(",")?;
            }
            let w = self.span(|ch| ch.is_ascii_alphanumeric() || ch == '*');
            dims.push(Dim::parse(w).ok_or_else(|| format!("`{w}` is no extent"))?);
        }
        Ok(TensorType::new(dtype, Shape(dims)))
    }
}
