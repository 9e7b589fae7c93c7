//! Tensors as scalar statements: where each element of a value is the same expression of one element of every operand,
//! shapes no longer matter.

use std::collections::HashMap;

use super::library;
use super::spell::{binary, cast, literal, unary};
use crate::ir::{Binary, Graph, Op, Scalar, Value};

/// Statements that compute some values, and the expressions that then stand for these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Statements {
    /// `let` statements, one a line.
    pub text: String,
    /// An expression for each value asked for.
    pub values: Vec<String>,
}

/// Spells `roots` as scalars; `leaf` says what stands for a value, where something does.
///
/// # Errors
/// The value that has no scalar form.
pub fn statements(g: &Graph, roots: &[Value], leaf: &dyn Fn(Value) -> Option<String>) -> Result<Statements, Value> {
    let mut writer = Writer {
        g,
        leaf,
        known: HashMap::new(),
        text: String::new(),
        names: 0,
    };
    let values = roots.iter().map(|v| writer.at(*v)).collect::<Result<_, Value>>()?;
    Ok(Statements {
        text: writer.text,
        values,
    })
}

/// A kernel of these declarations and this body: what the body calls of the library comes with it.
#[must_use]
pub fn kernel(declarations: &str, threads: u32, body: &str) -> String {
    let functions = library::functions(body);
    format!(
        "{declarations}var<private> infinity_bits: u32 = 0x7f800000u;\nvar<private> nan_bits: u32 = 0x7fc00000u;\n\
         {functions}@compute @workgroup_size({threads})\n\
         fn main(@builtin(local_invocation_index) lid: u32, @builtin(workgroup_id) wid: vec3<u32>) {{\n{body}}}\n"
    )
}

struct Writer<'a> {
    g: &'a Graph,
    leaf: &'a dyn Fn(Value) -> Option<String>,
    known: HashMap<Value, String>,
    text: String,
    names: usize,
}

impl Writer<'_> {
    fn at(&mut self, v: Value) -> Result<String, Value> {
        if let Some(name) = self.known.get(&v) {
            return Ok(name.clone());
        }
        let name = match (self.leaf)(v) {
            Some(leaf) => self.bind(&leaf),
            None => self.compute(v)?,
        };
        self.known.insert(v, name.clone());
        Ok(name)
    }

    fn compute(&mut self, v: Value) -> Result<String, Value> {
        let n = self.g.node(v);
        let dtype = |i: usize| self.g.ty(n.args[i]).dtype;
        Ok(match &n.op {
            Op::Const(c) => literal(*c),
            Op::Broadcast | Op::Reshape | Op::Detach => self.at(n.args[0])?,
            Op::Unary(u) => {
                let x = self.at(n.args[0])?;
                self.bind(&unary(*u, &x, 1))
            }
            Op::Binary(Binary::Lt) if self.g.constant(n.args[1]) == Some(Scalar::F32(f32::INFINITY)) => {
                // Comparisons with what is not finite are not to be trusted; bits are.
                let x = self.at(n.args[0])?;
                self.bind(&format!("nonfinite_1({x}) == 0u || bitcast<u32>({x}) == 0xff800000u"))
            }
            Op::Binary(b) => {
                let (x, y) = (self.at(n.args[0])?, self.at(n.args[1])?);
                self.bind(&binary(*b, &x, &y, 1, dtype(0)))
            }
            Op::Select => {
                let (c, x, y) = (self.at(n.args[0])?, self.at(n.args[1])?, self.at(n.args[2])?);
                self.bind(&format!("select({y}, {x}, {c})"))
            }
            Op::Cast => {
                let x = self.at(n.args[0])?;
                self.bind(&cast(&x, dtype(0), n.ty.dtype, 1))
            }
            _ => return Err(v),
        })
    }

    fn bind(&mut self, expression: &str) -> String {
        self.names += 1;
        let name = format!("t{}", self.names);
        self.text.push_str(&format!("  let {name} = {expression};\n"));
        name
    }
}
