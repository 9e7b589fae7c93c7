//! The rules: a gradient, an old value and its state become new ones.

use super::{BIAS1, BIAS2, LR, NEXT, Optimiser, Rule, Trained};
use crate::ir::{Binary, Fold, Graph, TypeError, Unary, Value};
use crate::tensor::{DType, Dim, HostTensor, Shape, Tensors};

type Built = Result<Value, TypeError>;

/// Scalars that all updates share.
pub(super) struct Hyper {
    lr: Value,
    betas: (f64, f64),
    /// `1 / (1 - beta1^t)` and `sqrt(1 - beta2^t)`, where some rule is Adam.
    bias: Option<(Value, Value)>,
}

impl Hyper {
    pub(super) fn new(g: &mut Graph, optimiser: &Optimiser) -> Result<Self, TypeError> {
        let mut scalar = |name| g.input(name, DType::F32, Shape(Vec::new()));
        let lr = scalar(LR)?;
        let bias = if optimiser.groups.iter().any(|group| group.rule == Rule::Adam) {
            let (bias1, bias2) = (scalar(BIAS1)?, scalar(BIAS2)?);
            Some((bias1, g.unary(Unary::Sqrt, bias2)?))
        } else {
            None
        };
        Ok(Self {
            lr,
            betas: optimiser.betas,
            bias,
        })
    }
}

/// The outputs of a step under construction, and its first state.
pub(super) struct Writes {
    pub(super) outputs: Vec<(String, Value)>,
    pub(super) state: Tensors,
    /// Whether the gradients are finite, `bool[]`.
    finite: Value,
}

/// What is written of one parameter: its own next value and those of its state, each with the old one.
type Changes = Vec<(String, Value, Value)>;

impl Writes {
    pub(super) fn new(metrics: Vec<(String, Value)>, finite: Value) -> Self {
        Self {
            outputs: metrics,
            state: Tensors::new(),
            finite,
        }
    }

    /// Writes a parameter that is not trained.
    pub(super) fn keep(&mut self, g: &mut Graph, name: &str, new: Value) -> Result<(), TypeError> {
        let shape = g.shape(new).at(crate::tensor::Sizes::ONE);
        let old = g.param(name, &shape)?;
        self.write(g, name, self.finite, old, new)
    }

    /// Writes a parameter as its group's rule says.
    pub(super) fn update(
        &mut self,
        g: &mut Graph,
        t: &Trained<'_>,
        gradient: Value,
        hyper: &Hyper,
    ) -> Result<(), TypeError> {
        let mut rule = Update {
            g,
            state: &mut self.state,
            t,
            lr: hyper.lr,
        };
        let changes = rule.changes(gradient, hyper)?;
        let when = match &t.lookups {
            Some(ids) if t.group.lazy => {
                let touched = touched(g, t.value, ids)?;
                g.binary(Binary::And, touched, self.finite)?
            }
            _ => self.finite,
        };
        for (name, old, new) in changes {
            self.write(g, &name, when, old, new)?;
        }
        Ok(())
    }

    fn write(&mut self, g: &mut Graph, name: &str, when: Value, old: Value, new: Value) -> Result<(), TypeError> {
        let next = g.select(when, new, old)?;
        self.outputs.push((format!("{NEXT}{name}"), next));
        Ok(())
    }
}

/// Which rows of a table a batch has looked up: `bool[V, 1, ..]`.
fn touched(g: &mut Graph, table: Value, lookups: &[Value]) -> Built {
    let rank = g.shape(table).rank();
    let mut rows = vec![Dim::Fixed(1); rank];
    rows[0] = g.shape(table).0[0];
    let (one, zero) = (g.constant_f32(1.0)?, g.constant_f32(0.0)?);
    let mut count = None;
    for ids in lookups {
        let mut each = g.shape(*ids).0.clone();
        each.extend(std::iter::repeat_n(Dim::Fixed(1), rank - 1));
        let ones = g.broadcast(one, &Shape(each))?;
        let own = g.scatter_add(ones, *ids, &Shape(rows.clone()))?;
        count = Some(match count {
            None => own,
            Some(count) => g.binary(Binary::Add, count, own)?,
        });
    }
    let count = count.expect("a table is looked up");
    g.binary(Binary::Gt, count, zero)
}

/// The update of one parameter.
struct Update<'a> {
    g: &'a mut Graph,
    state: &'a mut Tensors,
    t: &'a Trained<'a>,
    lr: Value,
}

impl Update<'_> {
    fn changes(&mut self, gradient: Value, hyper: &Hyper) -> Result<Changes, TypeError> {
        let (old, group) = (self.t.value, self.t.group);
        if group.lr != 1.0 {
            self.lr = self.times(self.lr, group.lr)?;
        }
        let gradient = if group.l2 == 0.0 {
            gradient
        } else {
            let decay = self.times(old, group.l2)?;
            self.op(Binary::Add, gradient, decay)?
        };
        let (mut changes, step) = match group.rule {
            Rule::Sgd => self.sgd(gradient)?,
            Rule::Adagrad => self.adagrad(gradient, false)?,
            Rule::RowwiseAdagrad => self.adagrad(gradient, true)?,
            Rule::Adam => self.adam(gradient, hyper)?,
            Rule::Frozen => (Changes::new(), gradient),
        };
        let kept = if group.weight_decay == 0.0 {
            old
        } else {
            let decay = self.times(self.lr, group.weight_decay)?;
            let one = self.g.constant_f32(1.0)?;
            let kept = self.op(Binary::Sub, one, decay)?;
            self.op(Binary::Mul, old, kept)?
        };
        let new = self.op(Binary::Sub, kept, step)?;
        changes.insert(0, (self.t.name.clone(), old, new));
        Ok(changes)
    }

    fn sgd(&mut self, gradient: Value) -> Result<(Changes, Value), TypeError> {
        if self.t.group.momentum == 0.0 {
            return Ok((Changes::new(), self.op(Binary::Mul, gradient, self.lr)?));
        }
        let (name, b) = self.state("sgd.b", &self.extents())?;
        let kept = self.times(b, self.t.group.momentum)?;
        let next = self.op(Binary::Add, kept, gradient)?;
        let step = self.op(Binary::Mul, next, self.lr)?;
        Ok((vec![(name, b, next)], step))
    }

    fn adagrad(&mut self, gradient: Value, by_row: bool) -> Result<(Changes, Value), TypeError> {
        let mut extents = self.extents();
        let mut square = self.op(Binary::Mul, gradient, gradient)?;
        if by_row && extents.len() > 1 {
            let axes: Vec<usize> = (1..extents.len()).collect();
            let sum = self.g.reduce(Fold::Sum, square, &axes)?;
            let width: usize = extents[1..].iter().product();
            square = self.times(sum, 1.0 / width as f64)?;
            extents[1..].fill(1);
        }
        let (name, s) = self.state("adagrad.s", &extents)?;
        let next = self.op(Binary::Add, s, square)?;
        let root = self.g.unary(Unary::Sqrt, next)?;
        let divisor = self.plus(root, self.t.group.eps)?;
        let whole = self.op(Binary::Div, gradient, divisor)?;
        let step = self.op(Binary::Mul, whole, self.lr)?;
        Ok((vec![(name, s, next)], step))
    }

    fn adam(&mut self, gradient: Value, hyper: &Hyper) -> Result<(Changes, Value), TypeError> {
        let (bias1, root_bias2) = hyper.bias.expect("some rule is Adam");
        let (beta1, beta2) = hyper.betas;
        let (m_name, m) = self.state("adam.m", &self.extents())?;
        let (v_name, v) = self.state("adam.v", &self.extents())?;
        let apart = self.op(Binary::Sub, gradient, m)?;
        let part = self.times(apart, 1.0 - beta1)?;
        let next_m = self.op(Binary::Add, m, part)?;
        let kept = self.times(v, beta2)?;
        let square = self.op(Binary::Mul, gradient, gradient)?;
        let part = self.times(square, 1.0 - beta2)?;
        let next_v = self.op(Binary::Add, kept, part)?;
        let root = self.g.unary(Unary::Sqrt, next_v)?;
        let unbiased = self.op(Binary::Div, root, root_bias2)?;
        let divisor = self.plus(unbiased, self.t.group.eps)?;
        let whole = self.op(Binary::Div, next_m, divisor)?;
        let rate = self.op(Binary::Div, self.lr, bias1)?;
        let step = self.op(Binary::Mul, whole, rate)?;
        Ok((vec![(m_name, m, next_m), (v_name, v, next_v)], step))
    }

    /// State of this parameter: a parameter of the graph under a name of its own, zero at first.
    fn state(&mut self, kind: &str, extents: &[usize]) -> Result<(String, Value), TypeError> {
        let name = format!("{kind}/{}", self.t.name);
        let zeros = vec![0.0; extents.iter().product()];
        self.state.insert(name.clone(), HostTensor::f32(extents, zeros));
        let value = self.g.param(&name, extents)?;
        Ok((name, value))
    }

    fn extents(&self) -> Vec<usize> {
        self.g.shape(self.t.value).per_row()
    }

    fn op(&mut self, op: Binary, x: Value, y: Value) -> Built {
        self.g.binary(op, x, y)
    }

    fn times(&mut self, x: Value, factor: f64) -> Built {
        let factor = self.g.constant_f32(factor as f32)?;
        self.op(Binary::Mul, x, factor)
    }

    fn plus(&mut self, x: Value, term: f64) -> Built {
        let term = self.g.constant_f32(term as f32)?;
        self.op(Binary::Add, x, term)
    }
}
