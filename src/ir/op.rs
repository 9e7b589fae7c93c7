//! The op table: every operation of the graph, its name and its meaning.

use std::fmt;

macro_rules! named {
    ($(#[$doc:meta])* $ty:ident { $($(#[$vdoc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $ty { $($(#[$vdoc])* $variant,)* }

        impl $ty {
            /// Every member, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name used in the text form and in shaders' comments.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The member that `name` spells, if any.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

named! {
    /// Functions of one element.
    Unary {
        /// `-x`.
        Neg = "neg",
        /// `|x|`.
        Abs = "abs",
        /// -1, 0 or 1.
        Sign = "sign",
        /// Largest whole number not above.
        Floor = "floor",
        /// Smallest whole number not below.
        Ceil = "ceil",
        /// Nearest whole number, ties to even.
        Round = "round",
        /// Towards zero.
        Trunc = "trunc",
        /// `e^x`.
        Exp = "exp",
        /// Natural logarithm.
        Log = "log",
        /// `ln(1 + x)`.
        Log1p = "log1p",
        /// `e^x - 1`.
        Expm1 = "expm1",
        /// Square root.
        Sqrt = "sqrt",
        /// `1 / sqrt(x)`.
        Rsqrt = "rsqrt",
        /// `1 / x`.
        Recip = "recip",
        /// Sine.
        Sin = "sin",
        /// Cosine.
        Cos = "cos",
        /// Hyperbolic tangent.
        Tanh = "tanh",
        /// `1 / (1 + e^-x)`.
        Sigmoid = "sigmoid",
        /// Gauss error function.
        Erf = "erf",
        /// Negation of a truth value.
        Not = "not",
    }
}

named! {
    /// Functions of two elements of one type.
    Binary {
        /// Sum.
        Add = "add",
        /// Difference.
        Sub = "sub",
        /// Product.
        Mul = "mul",
        /// Quotient; of integers, towards zero.
        Div = "div",
        /// `x^y`.
        Pow = "pow",
        /// The larger; NaN if either is.
        Max = "max",
        /// The smaller; NaN if either is.
        Min = "min",
        /// Remainder with the divisor's sign.
        Rem = "rem",
        /// Equal.
        Eq = "eq",
        /// Not equal.
        Ne = "ne",
        /// Less.
        Lt = "lt",
        /// Less or equal.
        Le = "le",
        /// Greater.
        Gt = "gt",
        /// Greater or equal.
        Ge = "ge",
        /// Both.
        And = "and",
        /// Either.
        Or = "or",
        /// Exactly one.
        Xor = "xor",
    }
}

impl Binary {
    /// Whether the result is a truth value whatever the operands are.
    #[must_use]
    pub fn compares(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// Whether the operands are truth values.
    #[must_use]
    pub fn is_logic(self) -> bool {
        matches!(self, Self::And | Self::Or | Self::Xor)
    }

    /// Whether the operands may be exchanged.
    #[must_use]
    pub fn commutes(self) -> bool {
        use Binary::{Add, And, Eq, Max, Min, Mul, Ne, Or, Xor};
        matches!(self, Add | Mul | Max | Min | Eq | Ne | And | Or | Xor)
    }
}

named! {
    /// How an axis is folded.
    Fold {
        /// Sum.
        Sum = "sum",
        /// Largest.
        Max = "max",
        /// Smallest.
        Min = "min",
    }
}

/// A scalar in the graph's text; compared and hashed by bits.
#[derive(Clone, Copy, Debug)]
pub enum Scalar {
    /// A float.
    F32(f32),
    /// An integer.
    I32(i32),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    fn bits(self) -> (u8, u32) {
        match self {
            Self::F32(x) => (0, x.to_bits()),
            Self::I32(x) => (1, x.cast_unsigned()),
            Self::Bool(x) => (2, u32::from(x)),
        }
    }
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Scalar {}

impl std::hash::Hash for Scalar {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32(x) => write!(f, "{x:?}"),
            Self::I32(x) => write!(f, "{x}"),
            Self::Bool(x) => write!(f, "{x}"),
        }
    }
}

/// An operation. Leaves first, then pointwise ops, whose element at an index is a scalar expression of
/// their operands' elements, then anchors, which need a loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A tensor that comes with each batch.
    Input(String),
    /// A trained or constant tensor of the model's file.
    Param(String),
    /// A scalar, rank 0.
    Const(Scalar),
    /// `i32[n]`, element `i` is `i`.
    Iota,

    /// `f(x)`, element by element.
    Unary(Unary),
    /// `f(x, y)`, element by element; both operands have the result's shape.
    Binary(Binary),
    /// `c ? x : y`, element by element.
    Select,
    /// To the result's type: truncation to integers, `!= 0` to truth values.
    Cast,
    /// `x` itself, of any type; its gradient is zero.
    Detach,
    /// Right-aligned repetition to the result's shape.
    Broadcast,
    /// The same elements in row-major order under the result's shape.
    Reshape,
    /// Result axis `i` is operand axis `perm[i]`.
    Permute(Vec<usize>),
    /// Every `step`-th index of `start..stop` along an axis.
    Slice {
        /// The axis.
        axis: usize,
        /// First index.
        start: usize,
        /// One past the last index.
        stop: usize,
        /// Stride, at least 1.
        step: usize,
    },
    /// Operands one after the other along an axis.
    Concat(usize),
    /// `x[.., idx[..], ..]`: `idx` replaces the axis. An index outside the axis is an error.
    Gather(usize),
    /// `y[i] = x[i with i[axis] = idx[i]]`.
    TakeAlong(usize),
    /// Floats of `0..1` from a counter: element `i`, counted row-major, is a function of the seed `i32[]`, of this number
    /// of a stream and of `i` alone. See [`crate::random::uniform`].
    Uniform(u32),

    /// `[.., m, k] x [.., k, n]`, or `[.., m, k] x [k, n]`.
    MatMul,
    /// Fold of axes (ascending), each kept with extent 1.
    Reduce(Fold, Vec<usize>),
    /// Inclusive running sum along an axis.
    CumSum(usize),
    /// The transpose of a gather: zeros of the result's shape, to which `u [.., idx.., ..]` is added at `idx` along the
    /// axis. An index outside the axis is an error.
    ScatterAdd(usize),
    /// Gated recurrent unit over the last axis but one: `(x [.., T, 3H], h0 [.., H], w [H, 3H], b [3H])`
    /// to all states `[.., T, H]`; gates in the order r, z, n;
    /// `h' = (1 - z) n + z h`, `n = tanh(x_n + r (h w_n + b_n))`.
    ///
    /// With a fifth operand `a [.., T]`, DIEN's attention, the update gate is `a z` and weighs the candidate, not the
    /// state: `h' = (1 - a z) h + a z n`.
    Gru,
    /// What a [`Op::Gru`] passes back: `(x, h0, w, b, [a], hs [.., T, H], dhs [.., T, H])`, its operands, its result
    /// and the gradient of that, to `[.., T, 5H]`, or `[.., T, 5H + 1]` with `a`. At each step, side by side: gradients
    /// of `x_r`, `x_z` and `x_n`, of `h w_n + b_n`, of the state before the step as the step reads it (what `dhs` adds
    /// to that state is not in it), and of `a`.
    GruGrad,
}

impl Op {
    /// The name used in the text form.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input(_) => "input",
            Self::Param(_) => "param",
            Self::Const(_) => "const",
            Self::Iota => "iota",
            Self::Unary(u) => u.name(),
            Self::Binary(b) => b.name(),
            Self::Select => "select",
            Self::Cast => "cast",
            Self::Detach => "detach",
            Self::Broadcast => "broadcast",
            Self::Reshape => "reshape",
            Self::Permute(_) => "permute",
            Self::Slice { .. } => "slice",
            Self::Concat(_) => "concat",
            Self::Gather(_) => "gather",
            Self::TakeAlong(_) => "take_along",
            Self::Uniform(_) => "uniform",
            Self::MatMul => "matmul",
            Self::Reduce(Fold::Sum, _) => "reduce_sum",
            Self::Reduce(Fold::Max, _) => "reduce_max",
            Self::Reduce(Fold::Min, _) => "reduce_min",
            Self::CumSum(_) => "cumsum",
            Self::ScatterAdd(_) => "scatter_add",
            Self::Gru => "gru",
            Self::GruGrad => "gru_grad",
        }
    }

    /// Whether the value comes from outside or is a scalar constant.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        matches!(self, Self::Input(_) | Self::Param(_) | Self::Const(_) | Self::Iota)
    }

    /// Whether the op needs a loop.
    #[must_use]
    pub fn is_anchor(&self) -> bool {
        matches!(
            self,
            Self::MatMul | Self::Reduce(..) | Self::CumSum(_) | Self::ScatterAdd(_) | Self::Gru | Self::GruGrad
        )
    }
}
