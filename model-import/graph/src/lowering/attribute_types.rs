//! The types of attributes. An attribute of the wrong type would be read as 0 or as an empty list.

use crate::message_text::shorten;
use crate::onnx::NodeProto;

use super::{CHECK_AGAIN, Problem};

/// Types of attributes, as in `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const INTS: i32 = 7;

/// The type that an attribute of this name has in every operator that Kiln converts; `None` if operators differ in it, as in `p`
/// and `to`, or if Kiln does not read it.
fn expected(name: &str) -> Option<i32> {
    Some(match name {
        "alpha" | "beta" | "bias" | "cubic_coeff_a" | "epsilon" | "gamma" | "lambd" | "max" | "min" | "scale"
        | "softcap" => FLOAT,
        "allowzero"
        | "axis"
        | "blocksize"
        | "ceil_mode"
        | "count_include_pad"
        | "end"
        | "exclusive"
        | "group"
        | "keepdims"
        | "kv_num_heads"
        | "noop_with_empty_axes"
        | "num_groups"
        | "num_heads"
        | "q_num_heads"
        | "reverse"
        | "size"
        | "start"
        | "transA"
        | "transB"
        | "upper" => INT,
        "auto_pad" | "mode" => STRING,
        "axes" | "dilations" | "ends" | "kernel_shape" | "output_padding" | "output_shape" | "pads" | "perm"
        | "split" | "starts" | "strides" => INTS,
        _ => return None,
    })
}

/// Checks the types of the attributes that many operators have. Files without types pass.
pub(super) fn check_attribute_types(node: &NodeProto) -> Result<(), Problem> {
    for attribute in &node.attribute {
        let Some(expected) = expected(&attribute.name).filter(|_| attribute.r#type != 0) else { continue };
        if attribute.r#type != expected {
            let expected = match expected {
                FLOAT => "a float",
                INT => "an integer",
                STRING => "a text",
                _ => "a list of integers",
            };
            let reason = format!("its attribute '{}' is not {expected}", shorten(&attribute.name));
            return Err(Problem::with_next_step(reason, CHECK_AGAIN));
        }
    }
    Ok(())
}
