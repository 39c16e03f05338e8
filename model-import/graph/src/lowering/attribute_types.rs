//! The types of attributes. A parameter of the wrong type would be read as if it were missing.

use crate::onnx::NodeProto;

use super::{Problem, shorten};

/// Types of attributes, as in `AttributeProto.AttributeType`.
const FLOAT: i32 = 1;
const INT: i32 = 2;
const STRING: i32 = 3;
const INTS: i32 = 7;

/// The type that an attribute of this name has in every operator; `None` if operators differ in it.
fn expected(name: &str) -> Option<i32> {
    Some(match name {
        "alpha" | "beta" | "epsilon" => FLOAT,
        "axis" | "blocksize" | "ceil_mode" | "count_include_pad" | "group" | "keepdims" | "transA" | "transB" => INT,
        "auto_pad" | "mode" => STRING,
        "axes" | "dilations" | "kernel_shape" | "output_padding" | "pads" | "perm" | "strides" => INTS,
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
            return Err(format!(
                "its attribute '{}' is not {expected}. Check the file with onnx.checker.check_model, and export the model again.",
                shorten(&attribute.name)
            )
            .into());
        }
    }
    Ok(())
}
