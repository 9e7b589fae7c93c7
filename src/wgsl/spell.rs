//! How WGSL spells the scalar functions; those it lacks are in `shaders/math.wgsl`.

use crate::ir::{Binary, Scalar, Unary};
use crate::tensor::DType;

/// The shader's name of an element type.
pub(super) fn wgsl_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::I32 => "i32",
        DType::Bool => "bool",
    }
}

/// `x` as another element type.
pub(super) fn cast(x: &str, from: DType, to: DType, lanes: u32) -> String {
    match (from, to) {
        (f, t) if f == t => x.to_owned(),
        (_, t) if lanes == 1 => format!("{}({x})", wgsl_type(t)),
        (_, t) => format!("vec4<{}>({x})", wgsl_type(t)),
    }
}

/// A function of one element, or of four.
pub(super) fn unary(u: Unary, x: &str, lanes: u32) -> String {
    let f = match u {
        Unary::Neg => return format!("-{x}"),
        Unary::Not => return format!("!{x}"),
        Unary::Recip => return format!("1.0 / {x}"),
        Unary::Abs => "abs",
        Unary::Sign => "sign",
        Unary::Floor => "floor",
        Unary::Ceil => "ceil",
        Unary::Round => "round",
        Unary::Trunc => "trunc",
        Unary::Exp => "exp",
        Unary::Log => "log",
        Unary::Sqrt => "sqrt",
        Unary::Rsqrt => "inverseSqrt",
        Unary::Sin => "sin",
        Unary::Cos => "cos",
        Unary::Log1p | Unary::Expm1 | Unary::Tanh | Unary::Sigmoid | Unary::Erf => {
            return format!("{}_{lanes}({x})", u.name());
        }
    };
    format!("{f}({x})")
}

/// A function of two elements, or of four pairs.
pub(super) fn binary(b: Binary, x: &str, y: &str, lanes: u32, dtype: DType) -> String {
    let infix = match b {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div if dtype == DType::I32 => return format!("idiv_{lanes}({x}, {y})"),
        Binary::Div => "/",
        Binary::Max => return format!("max({x}, {y})"),
        Binary::Min => return format!("min({x}, {y})"),
        Binary::Pow if dtype == DType::I32 => return format!("ipow_{lanes}({x}, {y})"),
        Binary::Pow => return format!("power_{lanes}({x}, {y})"),
        Binary::Rem if dtype == DType::I32 => return format!("irem_{lanes}({x}, {y})"),
        Binary::Rem => return format!("rem_{lanes}({x}, {y})"),
        // Truth values have no order in WGSL: false < true is spelled out.
        Binary::Lt if dtype == DType::Bool => return format!("(!{x} & {y})"),
        Binary::Le if dtype == DType::Bool => return format!("(!{x} | {y})"),
        Binary::Gt if dtype == DType::Bool => return format!("({x} & !{y})"),
        Binary::Ge if dtype == DType::Bool => return format!("({x} | !{y})"),
        Binary::Eq => "==",
        Binary::Ne | Binary::Xor => "!=",
        Binary::Lt => "<",
        Binary::Le => "<=",
        Binary::Gt => ">",
        Binary::Ge => ">=",
        Binary::And => "&",
        Binary::Or => "|",
    };
    format!("{x} {infix} {y}")
}

/// A constant.
pub(super) fn literal(c: Scalar) -> String {
    match c {
        Scalar::F32(x) if x.is_nan() => "bitcast<f32>(nan_bits)".into(),
        Scalar::F32(x) if x == f32::INFINITY => "bitcast<f32>(infinity_bits)".into(),
        Scalar::F32(x) if x == f32::NEG_INFINITY => "(-bitcast<f32>(infinity_bits))".into(),
        Scalar::F32(x) => parenthesised(format!("{x:?}f")),
        Scalar::I32(i32::MIN) => "(-2147483647i - 1i)".into(),
        Scalar::I32(x) => parenthesised(format!("{x}i")),
        Scalar::Bool(x) => x.to_string(),
    }
}

/// A negative literal in parentheses, so that it can follow any operator.
fn parenthesised(text: String) -> String {
    if text.starts_with('-') {
        format!("({text})")
    } else {
        text
    }
}
