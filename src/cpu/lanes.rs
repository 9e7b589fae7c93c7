//! The register machine of pointwise chains: one function at a time over the lanes of a register.

use super::math;
use crate::ir::{Binary, Unary};
use crate::tensor::DType;

/// Elements of a register.
pub(super) const LANES: usize = 512;

/// A register: words of 32 bits, whatever they mean.
pub(super) type Lane = [u32; LANES];

/// What a step computes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Func {
    /// Reads an operand; done by the loops, which know where it lies.
    Load(usize),
    /// The same word everywhere.
    Constant(u32),
    /// Of one element of this type.
    Unary(Unary, DType),
    /// Of two elements of this type.
    Binary(Binary, DType),
    /// `c ? x : y`.
    Select,
    /// Between two types.
    Cast(DType, DType),
}

/// A function, the register of its result and those of its operands.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) func: Func,
    pub(super) to: usize,
    pub(super) from: [usize; 3],
}

const DISTINCT: &str = "a step's result has a register of its own";

/// The registers of one step, cut to the lanes in use.
struct Operands<'a> {
    regs: &'a mut [Lane],
    to: usize,
    from: [usize; 3],
    n: usize,
}

impl Operands<'_> {
    #[inline(always)]
    fn map(self, f: impl Fn(u32) -> u32) {
        let pair = self.regs.get_disjoint_mut([self.to, self.from[0]]);
        let [to, x] = pair.expect(DISTINCT);
        for (to, x) in to[..self.n].iter_mut().zip(&x[..self.n]) {
            *to = f(*x);
        }
    }

    #[inline(always)]
    fn zip(self, f: impl Fn(u32, u32) -> u32) {
        let [x, y, _] = self.from;
        if x == y {
            return self.map(|x| f(x, x));
        }
        let triple = self.regs.get_disjoint_mut([self.to, x, y]);
        let [to, x, y] = triple.expect(DISTINCT);
        for ((to, x), y) in to[..self.n].iter_mut().zip(&x[..self.n]).zip(&y[..self.n]) {
            *to = f(*x, *y);
        }
    }

    #[inline(always)]
    fn floats(self, f: impl Fn(f32) -> f32) {
        self.map(|x| f(f32::from_bits(x)).to_bits());
    }

    #[inline(always)]
    fn ints(self, f: impl Fn(i32) -> i32) {
        self.map(|x| f(x.cast_signed()).cast_unsigned());
    }

    #[inline(always)]
    fn zip_floats(self, f: impl Fn(f32, f32) -> f32) {
        self.zip(|x, y| f(f32::from_bits(x), f32::from_bits(y)).to_bits());
    }

    #[inline(always)]
    fn zip_ints(self, f: impl Fn(i32, i32) -> i32) {
        self.zip(|x, y| f(x.cast_signed(), y.cast_signed()).cast_unsigned());
    }

    /// Compares as floats or, which serves truth values too, as integers.
    #[inline(always)]
    fn compare(self, dtype: DType, floats: impl Fn(&f32, &f32) -> bool, ints: impl Fn(&i32, &i32) -> bool) {
        match dtype {
            DType::F32 => self.zip(|x, y| u32::from(floats(&f32::from_bits(x), &f32::from_bits(y)))),
            DType::I32 | DType::Bool => self.zip(|x, y| u32::from(ints(&x.cast_signed(), &y.cast_signed()))),
        }
    }

    #[inline(always)]
    fn select(self) {
        // The choices may be one register, and the condition one of them; so it goes in two moves.
        let [c, x, y] = self.from;
        let both = [(x, u32::MAX), (y, 0)];
        for (choice, keep) in both {
            if c == choice {
                let [to, c] = self.regs.get_disjoint_mut([self.to, c]).expect(DISTINCT);
                for (to, c) in to[..self.n].iter_mut().zip(&c[..self.n]) {
                    if (*c != 0) == (keep != 0) {
                        *to = *c;
                    }
                }
            } else {
                let triple = self.regs.get_disjoint_mut([self.to, c, choice]);
                let [to, c, choice] = triple.expect(DISTINCT);
                for ((to, c), x) in to[..self.n].iter_mut().zip(&c[..self.n]).zip(&choice[..self.n]) {
                    let take = if *c != 0 { keep } else { !keep };
                    *to = (*to & !take) | (*x & take);
                }
            }
        }
    }
}

/// Runs one step on `n` lanes, with the widest vectors the machine has.
pub(super) fn apply(step: &Step, regs: &mut [Lane], n: usize) {
    // Whole vectors: the lanes beyond the end exist and nobody reads them.
    let n = n.next_multiple_of(16).min(LANES);
    let on = Operands {
        regs,
        to: step.to,
        from: step.from,
        n,
    };
    let work = Work { func: step.func, on };
    // AVX-512 is known to `Arch`; it knows AVX2 too, but only if all of its users are compiled for it.
    #[cfg(target_arch = "x86_64")]
    if pulp::x86::V4::try_new().is_none()
        && let Some(avx2) = pulp::x86::V3::try_new()
    {
        return pulp::Simd::vectorize(avx2, work);
    }
    pulp::Arch::new().dispatch(work);
}

/// A step under way; a type of its own so that it is compiled for every kind of vectors.
struct Work<'a> {
    func: Func,
    on: Operands<'a>,
}

impl pulp::NullaryFnOnce for Work<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        compute(self.func, self.on);
    }
}

#[inline(always)]
fn compute(func: Func, on: Operands<'_>) {
    match func {
        Func::Load(_) => {}
        Func::Constant(word) => on.regs[on.to][..on.n].fill(word),
        Func::Unary(Unary::Not, _) => on.map(|x| x ^ 1),
        Func::Unary(op, DType::F32) => unary(op, on),
        Func::Unary(op, DType::I32 | DType::Bool) => unary_int(op, on),
        Func::Binary(op, dtype) if op.compares() => compare(op, dtype, on),
        Func::Binary(op, DType::F32) => binary(op, on),
        Func::Binary(op, DType::I32) => binary_int(op, on),
        Func::Binary(op, DType::Bool) => match op {
            Binary::And => on.zip(|x, y| x & y),
            Binary::Or => on.zip(|x, y| x | y),
            _ => on.zip(|x, y| x ^ y),
        },
        Func::Select => on.select(),
        Func::Cast(from, to) => cast(from, to, on),
    }
}

#[inline(always)]
fn unary(op: Unary, on: Operands<'_>) {
    match op {
        Unary::Neg => on.floats(|x| -x),
        Unary::Abs => on.floats(f32::abs),
        Unary::Sign => on.floats(|x| f32::from(i8::from(x > 0.0) - i8::from(x < 0.0))),
        Unary::Floor => on.floats(f32::floor),
        Unary::Ceil => on.floats(f32::ceil),
        Unary::Round => on.floats(f32::round_ties_even),
        Unary::Trunc => on.floats(f32::trunc),
        Unary::Exp => on.floats(math::exp),
        Unary::Log => on.floats(f32::ln),
        Unary::Log1p => on.floats(f32::ln_1p),
        Unary::Expm1 => on.floats(f32::exp_m1),
        Unary::Sqrt => on.floats(f32::sqrt),
        Unary::Rsqrt => on.floats(|x| 1.0 / x.sqrt()),
        Unary::Recip => on.floats(|x| 1.0 / x),
        Unary::Sin => on.floats(f32::sin),
        Unary::Cos => on.floats(f32::cos),
        Unary::Tanh => on.floats(math::tanh),
        Unary::Sigmoid => on.floats(math::sigmoid),
        Unary::Erf => on.floats(math::erf),
        Unary::Not => {}
    }
}

#[inline(always)]
fn unary_int(op: Unary, on: Operands<'_>) {
    match op {
        Unary::Neg => on.ints(i32::wrapping_neg),
        Unary::Abs => on.ints(i32::wrapping_abs),
        Unary::Sign => on.ints(i32::signum),
        _ => unreachable!("typing keeps `{}` from integers", op.name()),
    }
}

#[inline(always)]
fn binary(op: Binary, on: Operands<'_>) {
    match op {
        Binary::Add => on.zip_floats(|x, y| x + y),
        Binary::Sub => on.zip_floats(|x, y| x - y),
        Binary::Mul => on.zip_floats(|x, y| x * y),
        Binary::Div => on.zip_floats(|x, y| x / y),
        Binary::Pow => on.zip_floats(f32::powf),
        // A NaN in x is kept, one in y wins the comparison.
        Binary::Max => on.zip_floats(|x, y| if x.is_nan() || x > y { x } else { y }),
        Binary::Min => on.zip_floats(|x, y| if x.is_nan() || x < y { x } else { y }),
        Binary::Rem => on.zip_floats(|x, y| {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }),
        _ => unreachable!("typing keeps `{}` from floats", op.name()),
    }
}

#[inline(always)]
fn binary_int(op: Binary, on: Operands<'_>) {
    match op {
        Binary::Add => on.zip_ints(i32::wrapping_add),
        Binary::Sub => on.zip_ints(i32::wrapping_sub),
        Binary::Mul => on.zip_ints(i32::wrapping_mul),
        // By zero: as WGSL has it, x / 0 = x and x % 0 = 0.
        Binary::Div => on.zip_ints(|x, y| if y == 0 { x } else { x.wrapping_div(y) }),
        Binary::Rem => on.zip_ints(|x, y| match y {
            0 => 0,
            _ => match x.wrapping_rem(y) {
                r if r != 0 && (r < 0) != (y < 0) => r + y,
                r => r,
            },
        }),
        Binary::Pow => on.zip_ints(int_pow),
        Binary::Max => on.zip_ints(i32::max),
        Binary::Min => on.zip_ints(i32::min),
        _ => unreachable!("typing keeps `{}` from integers", op.name()),
    }
}

/// A negative power is the truncated reciprocal, 0 for 0, as in PyTorch.
fn int_pow(x: i32, y: i32) -> i32 {
    match (u32::try_from(y), x) {
        (Ok(y), _) => x.wrapping_pow(y),
        (Err(_), 1) => 1,
        (Err(_), -1) if y % 2 == 0 => 1,
        (Err(_), -1) => -1,
        (Err(_), _) => 0,
    }
}

#[inline(always)]
fn compare(op: Binary, dtype: DType, on: Operands<'_>) {
    match op {
        Binary::Eq => on.compare(dtype, f32::eq, i32::eq),
        Binary::Ne => on.compare(dtype, f32::ne, i32::ne),
        Binary::Lt => on.compare(dtype, f32::lt, i32::lt),
        Binary::Le => on.compare(dtype, f32::le, i32::le),
        Binary::Gt => on.compare(dtype, f32::gt, i32::gt),
        Binary::Ge => on.compare(dtype, f32::ge, i32::ge),
        _ => unreachable!("`{}` does not compare", op.name()),
    }
}

#[inline(always)]
#[allow(clippy::cast_precision_loss, reason = "a cast of the graph rounds")]
fn cast(from: DType, to: DType, on: Operands<'_>) {
    match (from, to) {
        (DType::F32, DType::I32) => on.map(|x| (f32::from_bits(x) as i32).cast_unsigned()),
        (DType::F32, DType::Bool) => on.map(|x| u32::from(f32::from_bits(x) != 0.0)),
        (DType::I32, DType::Bool) => on.map(|x| u32::from(x != 0)),
        (DType::I32 | DType::Bool, DType::F32) => on.map(|x| (x.cast_signed() as f32).to_bits()),
        (DType::F32, DType::F32) | (DType::I32 | DType::Bool, DType::I32) | (DType::Bool, DType::Bool) => on.map(|x| x),
    }
}
