//! Training has no requests: every impression brings its own history.

use crate::ir::{Graph, Op, REQUEST_OF_ROW, TensorType, TypeError, Value};
use crate::tensor::{Dim, Shape};

/// The same model with `rows` wherever it has `requests`, and without `request_of_row`: each row then is a request of
/// its own. Outputs are kept in order.
///
/// # Errors
/// [`TypeError`] where the graph is not one that rows and requests can be told apart in.
pub fn rows_for_requests(g: &Graph) -> Result<Graph, TypeError> {
    let mut new = Graph::new();
    let mut map: Vec<Option<Value>> = Vec::with_capacity(g.len());
    let is_map = |v: Value| matches!(g.op(v), Op::Input(name) if name == REQUEST_OF_ROW);
    let looks_up = |op: &Op, args: &[Value]| *op == Op::Gather(0) && is_map(args[1]) && !is_map(args[0]);
    // Whoever reads the map in another way keeps it, as an input like any other.
    let mut readers = g.iter().filter(|(_, n)| n.args.iter().any(|a| is_map(*a)));
    let is_kept = readers.any(|(_, n)| !looks_up(&n.op, &n.args));
    for (v, n) in g.iter() {
        let at = |a: &Value| map[a.index()].expect("only lookups read `request_of_row`");
        let value = if is_map(v) && !is_kept {
            None
        } else if looks_up(&n.op, &n.args) {
            Some(at(&n.args[0]))
        } else {
            let args: Vec<Value> = n.args.iter().map(at).collect();
            let ty = TensorType::new(n.ty.dtype, of_rows(&n.ty.shape));
            let scope = new.enter(g.scope_of(v));
            let value = new.declare(n.op.clone(), &args, ty)?;
            new.leave(scope);
            Some(value)
        };
        map.push(value);
    }
    let output = |(name, v): &(String, Value)| map[v.index()].map(|v| (name.clone(), v));
    new.outputs = g.outputs.iter().filter_map(output).collect();
    Ok(new)
}

fn of_rows(shape: &Shape) -> Shape {
    let dims = shape.0.iter().map(|d| match d {
        Dim::Requests(k) => Dim::Rows(*k),
        Dim::Rows(_) | Dim::Fixed(_) => *d,
    });
    Shape(dims.collect())
}
