//! Faults planted in the backward half of graphs: the check finds every one of them.

use loopfm::ir::{Binary, Graph, Op, Unary, Value};
use loopfm::tensor::{DType, Tensors};

use super::check::{Subject, leaves};
use super::{models, ops};

/// What is done to a node.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// Its sign is wrong.
    Sign,
    /// It is too large by one part in a thousand.
    Scale,
    /// Of a sum, the operand at this place is missing.
    Missing(usize),
}

/// Every fault of every float that the backward half computes and the gradients depend on, unless it changes nothing:
/// of a zero, or of a missing zero. (A bias of keys changes no softmax: rounding alone is left of its gradient.)
fn faults(subject: &Subject) -> Vec<(Value, Fault)> {
    let mut g = subject.backward.clone();
    g.outputs = subject.gradients.iter().map(|v| (format!("{v}"), *v)).collect();
    let live = g.live();
    let computed = |v: &Value| {
        let n = g.node(*v);
        live[v.index()] && v.index() >= subject.forward.len() && n.ty.dtype == DType::F32 && !n.op.is_leaf()
    };
    let zero = |v: Value| {
        let value = subject.eval(&g, &subject.batch, &[v]).unwrap_or_else(|e| panic!("{e}"));
        value[0].floats().iter().all(|x| x.abs() < 1e-12)
    };
    let mut faults = Vec::new();
    for v in g.iter().map(|(v, _)| v).filter(computed).filter(|v| !zero(*v)) {
        faults.extend([(v, Fault::Sign), (v, Fault::Scale)]);
        if let (Op::Binary(Binary::Add | Binary::Sub), &[x, y]) = (g.op(v), g.args(v)) {
            // The difference `1 - y` of a slope is not a sum of gradients, yet it must be whole too.
            let missing = [(0, x), (1, y)].into_iter().filter(|(_, term)| !zero(*term));
            faults.extend(missing.map(|(i, _)| (v, Fault::Missing(i))));
        }
    }
    faults
}

/// The backward graph with a fault, and its gradients.
fn planted(subject: &Subject, at: Value, fault: Fault) -> (Graph, Vec<Value>) {
    let mut g = Graph::new();
    let mut map: Vec<Value> = Vec::new();
    for (v, n) in subject.backward.iter() {
        let args: Vec<Value> = n.args.iter().map(|a| map[a.index()]).collect();
        let right = g.declare(n.op.clone(), &args, n.ty.clone());
        let wrong = right.and_then(|right| match fault {
            _ if v != at => Ok(right),
            Fault::Sign => g.unary(Unary::Neg, right),
            Fault::Scale => {
                let factor = g.constant_f32(1.001)?;
                g.binary(Binary::Mul, right, factor)
            }
            Fault::Missing(0) if n.op == Op::Binary(Binary::Sub) => g.unary(Unary::Neg, args[1]),
            Fault::Missing(i) => Ok(args[1 - i]),
        });
        map.push(wrong.unwrap_or_else(|e| panic!("{e}")));
    }
    let gradients = subject.gradients.iter().map(|v| map[v.index()]).collect();
    (g, gradients)
}

#[test]
fn every_planted_fault_is_found() {
    let mut count = 0;
    for (name, g) in models::composites() {
        let (batch, none) = (ops::batch(&g, name.len() as u64), Tensors::new());
        let right = Subject::new(name, &g, (&none, &batch, ops::SIZES), leaves(&g));
        for (at, fault) in faults(&right) {
            let mut wrong = Subject::new(name, &g, (&none, &batch, ops::SIZES), right.wrt.clone());
            (wrong.backward, wrong.gradients) = planted(&right, at, fault);
            count += 1;
            assert!(wrong.check().is_err(), "{fault:?} of {at} passes\n{right}");
        }
    }
    assert!(count > 800, "{count} faults");
    eprintln!("{count} planted faults found");
}
