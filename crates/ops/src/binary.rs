//! Operations on two values.

/// An operation on two values `a` and `b`. Conditions are 0 or 1; as an operand, every value except 0 is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants without a comment are the ONNX operators of the same name")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    /// The remainder with the sign of `a` (C `fmod`).
    Mod,
    Pow,
    /// The smaller value, or NaN if one is NaN.
    Min,
    /// The larger value, or NaN if one is NaN.
    Max,
    /// `a`, and `a * b` if `a` is below zero.
    PRelu,
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    And,
    Or,
    Xor,
}

impl Binary {
    /// The result for two values.
    pub fn of(self, a: f32, b: f32) -> f32 {
        let truth = |value: bool| f32::from(u8::from(value));
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            Self::Mod => a % b,
            Self::Pow => a.powf(b),
            Self::Min | Self::Max if a.is_nan() || b.is_nan() => f32::NAN,
            Self::Min => a.min(b),
            Self::Max => a.max(b),
            Self::PRelu => {
                if a < 0.0 {
                    a * b
                } else {
                    a
                }
            }
            Self::Equal => truth(a == b),
            Self::Less => truth(a < b),
            Self::LessOrEqual => truth(a <= b),
            Self::Greater => truth(a > b),
            Self::GreaterOrEqual => truth(a >= b),
            Self::And => truth(a != 0.0 && b != 0.0),
            Self::Or => truth(a != 0.0 || b != 0.0),
            Self::Xor => truth((a != 0.0) != (b != 0.0)),
        }
    }
}
