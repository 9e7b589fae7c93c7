//! Whether a kernel decides all its indices itself: then nothing that memory holds can lead it astray.
//!
//! Read from naga's module, not from the plan: what counts is the text that drivers get. Anything that depends on what is
//! loaded from storage or workgroup memory is *data*: also a variable that is set where data decide whether it is, and
//! whatever is not known here. Constants, the number of the invocation and the sizes of the batch are none.

use std::collections::BTreeSet;

use naga::{AddressSpace, Block, Expression, Function, GlobalVariable, Handle, LocalVariable, Module, Statement};

/// Whether no index and no loop of a kernel depends on data.
#[must_use]
pub fn decides_its_indices(kernel: &str, wgsl: &str) -> bool {
    super::module(kernel, wgsl).is_ok_and(|(module, _)| own_indices(&module))
}

fn own_indices(module: &Module) -> bool {
    let mut known = Known::default();
    // What is data only ever grows: this ends.
    loop {
        let before = known.size();
        for (of, f) in functions(module) {
            let data = data(module, of, f, &known);
            let mut walk = Walk {
                of,
                f,
                known: &mut known,
                data,
            };
            if !walk.block(&f.body, Place::default()) || !walk.indices_are_own() {
                return false;
            }
        }
        if known.size() == before {
            return true;
        }
    }
}

/// A function: one of the module's, or the entry point.
type Of = Option<Handle<Function>>;

fn functions(module: &Module) -> impl Iterator<Item = (Of, &Function)> {
    let entry = module.entry_points.iter().map(|e| (None, &e.function));
    module.functions.iter().map(|(h, f)| (Some(h), f)).chain(entry)
}

/// What data have reached.
#[derive(Default)]
struct Known {
    locals: BTreeSet<(Of, Handle<LocalVariable>)>,
    privates: BTreeSet<Handle<GlobalVariable>>,
    arguments: BTreeSet<(Handle<Function>, u32)>,
    results: BTreeSet<Handle<Function>>,
}

impl Known {
    fn size(&self) -> usize {
        self.locals.len() + self.privates.len() + self.arguments.len() + self.results.len()
    }
}

struct Walk<'w> {
    of: Of,
    f: &'w Function,
    known: &'w mut Known,
    /// Of each expression of the function whether it is data, by what was known when the walk began.
    data: Vec<bool>,
}

/// Where a statement stands.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Whether data decide that it runs.
    under_data: bool,
    in_loop: bool,
}

impl Walk<'_> {
    fn is_data(&self, e: Handle<Expression>) -> bool {
        self.data[e.index()]
    }

    fn indices_are_own(&self) -> bool {
        self.f.expressions.iter().all(|(_, e)| match e {
            Expression::Access { index, .. } => !self.is_data(*index),
            Expression::ImageLoad {
                coordinate,
                array_index,
                sample,
                level,
                ..
            } => [Some(*coordinate), *array_index, *sample, *level]
                .into_iter()
                .flatten()
                .all(|e| !self.is_data(e)),
            _ => true,
        })
    }

    /// Follows statements, noting where data get to; `false` where a loop depends on data.
    fn block(&mut self, block: &Block, place: Place) -> bool {
        block.iter().all(|s| self.statement(s, place))
    }

    fn statement(&mut self, s: &Statement, place: Place) -> bool {
        let under = |data: bool| Place {
            under_data: place.under_data || data,
            ..place
        };
        match s {
            Statement::Block(b) => self.block(b, place),
            Statement::If {
                condition,
                accept,
                reject,
            } => {
                let inner = under(self.is_data(*condition));
                // What leaves a loop is the loop's condition.
                let ends = inner.under_data && inner.in_loop && (leaves(accept) || leaves(reject));
                !ends && self.block(accept, inner) && self.block(reject, inner)
            }
            Statement::Switch { selector, cases } => {
                let inner = under(self.is_data(*selector));
                let ends = inner.under_data && inner.in_loop && cases.iter().any(|c| leaves(&c.body));
                !ends && cases.iter().all(|c| self.block(&c.body, inner))
            }
            Statement::Loop {
                body,
                continuing,
                break_if,
            } => {
                let inner = Place { in_loop: true, ..place };
                let own = break_if.is_none_or(|e| !self.is_data(e));
                own && self.block(body, inner) && self.block(continuing, inner)
            }
            Statement::Store { pointer, value } => {
                if place.under_data || self.is_data(*value) {
                    self.note(*pointer);
                }
                true
            }
            Statement::Call {
                function, arguments, ..
            } => {
                for (i, argument) in (0u32..).zip(arguments) {
                    // What it points to may be data when the call is over.
                    self.note(*argument);
                    if place.under_data || self.is_data(*argument) {
                        self.known.arguments.insert((*function, i));
                    }
                }
                true
            }
            Statement::Return { value } => {
                if let (Some(function), Some(value)) = (self.of, value)
                    && (place.under_data || self.is_data(*value))
                {
                    self.known.results.insert(function);
                }
                true
            }
            _ => true,
        }
    }

    /// Data reach what a pointer points into.
    fn note(&mut self, pointer: Handle<Expression>) {
        match &self.f.expressions[pointer] {
            Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => self.note(*base),
            Expression::LocalVariable(v) => {
                self.known.locals.insert((self.of, *v));
            }
            Expression::GlobalVariable(v) => {
                self.known.privates.insert(*v);
            }
            _ => {}
        }
    }
}

/// Of each expression of a function whether it is data. Expressions stand after those that they are made of.
fn data(module: &Module, of: Of, f: &Function, known: &Known) -> Vec<bool> {
    let mut data = Vec::with_capacity(f.expressions.len());
    for (_, e) in f.expressions.iter() {
        let is = |e: Handle<Expression>| data.get(e.index()).copied().unwrap_or(true);
        let one = match e {
            Expression::Literal(_) | Expression::Constant(_) | Expression::ZeroValue(_) => false,
            // What the entry point is given is which invocation it is.
            Expression::FunctionArgument(i) => of.is_some_and(|f| known.arguments.contains(&(f, *i))),
            Expression::GlobalVariable(_) | Expression::LocalVariable(_) => false,
            Expression::Load { pointer } => holds_data(module, of, f, known, *pointer),
            Expression::Access { base, index } => is(*base) || is(*index),
            Expression::AccessIndex { base, .. } => is(*base),
            Expression::Splat { value, .. } => is(*value),
            Expression::Swizzle { vector, .. } => is(*vector),
            Expression::Compose { components, .. } => components.iter().any(|c| is(*c)),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => is(*expr),
            Expression::Binary { left, right, .. } => is(*left) || is(*right),
            Expression::Select {
                condition,
                accept,
                reject,
            } => [condition, accept, reject].into_iter().any(|e| is(*e)),
            Expression::Math {
                arg, arg1, arg2, arg3, ..
            } => [Some(*arg), *arg1, *arg2, *arg3].into_iter().flatten().any(is),
            Expression::CallResult(f) => known.results.contains(f),
            _ => true,
        };
        data.push(one);
    }
    data
}

/// Whether what a pointer points to may be data.
fn holds_data(module: &Module, of: Of, f: &Function, known: &Known, pointer: Handle<Expression>) -> bool {
    match &f.expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            holds_data(module, of, f, known, *base)
        }
        Expression::LocalVariable(v) => known.locals.contains(&(of, *v)),
        Expression::GlobalVariable(v) => match module.global_variables[*v].space {
            AddressSpace::Uniform => false,
            AddressSpace::Private => known.privates.contains(v),
            _ => true,
        },
        _ => true,
    }
}

/// Whether statements end a loop's turn, a loop or a function.
fn leaves(block: &Block) -> bool {
    block.iter().any(|s| match s {
        Statement::Break | Statement::Continue | Statement::Return { .. } | Statement::Kill => true,
        Statement::Block(b) => leaves(b),
        Statement::If { accept, reject, .. } => leaves(accept) || leaves(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|c| leaves(&c.body)),
        // What leaves an inner loop stays within it, unless it ends the function.
        Statement::Loop { body, continuing, .. } => returns(body) || returns(continuing),
        _ => false,
    })
}

fn returns(block: &Block) -> bool {
    block.iter().any(|s| match s {
        Statement::Return { .. } | Statement::Kill => true,
        Statement::Block(b) => returns(b),
        Statement::If { accept, reject, .. } => returns(accept) || returns(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|c| returns(&c.body)),
        Statement::Loop { body, continuing, .. } => returns(body) || returns(continuing),
        _ => false,
    })
}
