//! The operators that Kiln converts.

use super::{Lowering, Operator, Outputs};
use super::{attention, convolution, elementwise, movement, normalization, product, quantization, reduction, resize};

/// Converts an operator into layers or known values.
pub(crate) type Importer = fn(&mut Lowering<'_>, &Operator<'_>) -> Outputs;

/// The function that converts an operator, if Kiln knows it.
pub(crate) fn importer(domain: &str, op_type: &str) -> Option<Importer> {
    match domain {
        "" | "ai.onnx" => standard(op_type),
        "com.microsoft" => microsoft(op_type),
        _ => None,
    }
}

fn standard(op_type: &str) -> Option<Importer> {
    Some(match op_type {
        "Conv" => convolution::conv,
        "ConvTranspose" => convolution::conv_transpose,
        "MaxPool" | "AveragePool" | "LpPool" => convolution::pool,
        "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => convolution::global_pool,
        "BatchNormalization" => normalization::batch_norm,
        "LayerNormalization" => normalization::layer_norm,
        "RMSNormalization" | "SimplifiedLayerNormalization" => normalization::rms_norm,
        "GroupNormalization" => normalization::group_norm,
        "InstanceNormalization" => normalization::instance_norm,
        "MeanVarianceNormalization" => normalization::mean_variance_norm,
        "LpNormalization" => normalization::lp_norm,
        "LRN" => normalization::local_response_norm,
        "Gemm" => product::gemm,
        "MatMul" => product::matmul,
        "Einsum" => product::einsum,
        "Attention" => attention::attention,
        "Softmax" | "LogSoftmax" => reduction::softmax,
        "ReduceSum" | "ReduceMean" | "ReduceMax" | "ReduceMin" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" | "ReduceLogSum" | "ReduceLogSumExp" => reduction::reduce,
        "CumSum" => reduction::cumulative_sum,
        "Constant" => movement::constant,
        "ConstantOfShape" => movement::constant_of_shape,
        "Range" => movement::range,
        "Shape" => movement::shape,
        "Size" => movement::size,
        "Reshape" => movement::reshape,
        "Flatten" => movement::flatten,
        "Squeeze" => movement::squeeze,
        "Unsqueeze" => movement::unsqueeze,
        "Transpose" => movement::transpose,
        "Concat" => movement::concat,
        "Split" => movement::split,
        "Slice" => movement::slice,
        "Gather" => movement::gather,
        "GatherElements" | "GatherND" => movement::gather_known,
        "ScatterND" => movement::scatter_known,
        "Expand" => movement::expand,
        "Tile" => movement::tile,
        "Pad" => movement::pad,
        "Resize" | "Upsample" => resize::resize,
        "DepthToSpace" => movement::depth_to_space,
        "SpaceToDepth" => movement::space_to_depth,
        "Trilu" => movement::triangle,
        "Identity" | "Dropout" => movement::identity,
        "Cast" | "CastLike" => elementwise::cast,
        "Where" => elementwise::select,
        "QuantizeLinear" => quantization::quantize,
        "DequantizeLinear" => quantization::dequantize,
        "DynamicQuantizeLinear" => quantization::dynamic_quantize,
        "QLinearConv" => quantization::qlinear_conv,
        "QLinearMatMul" => quantization::qlinear_matmul,
        "ConvInteger" => quantization::conv_integer,
        "MatMulInteger" => quantization::matmul_integer,
        other if elementwise::is_binary(other) => elementwise::binary,
        other if elementwise::is_unary(other) => elementwise::unary,
        _ => return None,
    })
}

fn microsoft(op_type: &str) -> Option<Importer> {
    Some(match op_type {
        "FusedConv" | "Conv" | "NhwcFusedConv" => convolution::conv,
        "FusedGemm" => product::gemm,
        "FusedMatMul" | "TransposeMatMul" => product::fused_matmul,
        "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" => elementwise::microsoft_gelu,
        "BiasAdd" => elementwise::bias_add,
        "LayerNormalization" => normalization::layer_norm,
        "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => normalization::skip_layer_norm,
        "SimplifiedLayerNormalization" => normalization::rms_norm,
        "Attention" => attention::packed_attention,
        "MultiHeadAttention" => attention::multi_head_attention,
        "QLinearAdd" | "QLinearMul" => quantization::qlinear_binary,
        "QLinearSigmoid" | "QLinearLeakyRelu" => quantization::qlinear_unary,
        "QLinearAveragePool" | "QLinearGlobalAveragePool" => quantization::qlinear_pool,
        "QLinearConcat" => quantization::qlinear_concat,
        "QLinearSoftmax" => quantization::qlinear_softmax,
        "QGemm" => quantization::qgemm,
        "QuantizeLinear" => quantization::quantize,
        "DequantizeLinear" => quantization::dequantize,
        _ => return None,
    })
}
