//! Hooks for burn-onnx: for each operator of the private domain they generate a field of `kiln_kernels::layers`, its weights,
//! and the call.

use std::sync::Arc;

use burn_import::ModelGen;
use burn_import::ext::proc_macro2::TokenStream;
use burn_import::ext::quote::{format_ident, quote};
use burn_import::ext::{
    ArgType, CodegenContext, CustomNode, CustomOp, DType, Field, PackTensor, ProcessError, TensorData, TensorType,
    arg_to_ident, bridge,
};

use kiln_graph::{Conv, Layer, LayerKind, Network};
use kiln_ops::{Activation, Geometry, Pooling};

/// Name of the private ONNX domain.
pub const DOMAIN: &str = "kiln";
/// Name of the attribute with the index of a node's layer.
pub const LAYER: &str = "layer";

/// Registers the operators of the private domain. `network` has their layers.
pub fn register(generator: &mut ModelGen, network: &Arc<Network>) {
    for op_type in ["Conv", "InvertedBottleneck", "Pool", "GlobalAveragePool", "Scale"] {
        generator.register_custom_op(Hook { op_type, network: Arc::clone(network) });
    }
}

/// One operator of the domain.
struct Hook {
    op_type: &'static str,
    network: Arc<Network>,
}

impl Hook {
    fn layer(&self, node: &CustomNode) -> Result<&Layer, ProcessError> {
        let index = node.attrs.get_i64(LAYER).and_then(|index| usize::try_from(index).ok());
        let layer = index.and_then(|index| self.network.layers.get(index));
        layer.ok_or_else(|| ProcessError::Custom(format!("node '{}' has no valid layer index", node.name)))
    }
}

impl CustomOp for Hook {
    fn op_type(&self) -> &str {
        self.op_type
    }

    fn domain(&self) -> &str {
        DOMAIN
    }

    fn infer_output_types(&self, _: &CustomNode) -> Result<Vec<ArgType>, ProcessError> {
        Ok(vec![ArgType::Tensor(TensorType { dtype: DType::F32, rank: 4, static_shape: None })])
    }

    fn forward(&self, node: &CustomNode, ctx: &mut CodegenContext<'_, '_>) -> Result<TokenStream, ProcessError> {
        let layer = self.layer(node)?;
        let output = arg_to_ident(&node.outputs[0]);
        let input = ctx.arg(&node.inputs[0]);
        let second = node.inputs.get(1).map(|argument| ctx.arg(argument));
        let call = match &layer.kind {
            LayerKind::Conv(_) | LayerKind::InvertedBottleneck(_) => {
                let field = format_ident!("{}", node.name);
                let residual = second.map_or(quote!(None), |residual| quote!(Some(#residual)));
                quote!(self.#field.forward(#input, #residual))
            }
            LayerKind::Pool(pooling, geometry) => {
                let (pooling, geometry) = (pooling_tokens(*pooling), geometry_tokens(geometry));
                quote!(kiln_kernels::layers::pool(#input, #pooling, #geometry))
            }
            LayerKind::Scale => quote!(kiln_kernels::layers::scale(#input, #second)),
            _ => quote!(kiln_kernels::layers::global_average_pool(#input)),
        };
        Ok(quote!(let #output = #call;))
    }

    fn field(&self, node: &CustomNode) -> Result<Option<Field>, ProcessError> {
        let name = format_ident!("{}", node.name);
        let (kind, specs) = match &self.layer(node)?.kind {
            LayerKind::Conv(conv) => (quote!(kiln_kernels::layers::Conv), vec![spec_tokens(conv)]),
            LayerKind::InvertedBottleneck(convs) => {
                (quote!(kiln_kernels::layers::InvertedBottleneck), convs.iter().map(spec_tokens).collect())
            }
            _ => return Ok(None),
        };
        let init = quote!(let #name = #kind::new(#(#specs,)* device););
        Ok(Some(Field::new(&node.name, kind, init)))
    }

    fn collect_tensors(&self, node: &CustomNode, field: &str) -> Result<Vec<PackTensor>, ProcessError> {
        Ok(match &self.layer(node)?.kind {
            LayerKind::Conv(conv) => tensors(conv, field),
            LayerKind::InvertedBottleneck(convs) => {
                let parts = ["first", "depthwise", "last"].into_iter().zip(convs.iter());
                parts.flat_map(|(part, conv)| tensors(conv, &format!("{field}.{part}"))).collect()
            }
            _ => Vec::new(),
        })
    }
}

/// Weights and bias of a convolution, as burn-onnx stores them.
fn tensors(conv: &Conv, path: &str) -> Vec<PackTensor> {
    let [height, width] = conv.geometry.kernel;
    let inputs = conv.inputs / conv.groups;
    let weight = TensorData::new(conv.weight.clone(), [conv.outputs, inputs, height, width]);
    let bias = TensorData::new(conv.bias.clone(), [conv.outputs]);
    [("weight", weight), ("bias", bias)]
        .map(|(name, data)| bridge::from_data(data, format!("{path}.{name}"), None))
        .into()
}

fn spec_tokens(conv: &Conv) -> TokenStream {
    let Conv { inputs, outputs, .. } = conv;
    let depthwise = conv.is_depthwise();
    let geometry = geometry_tokens(&conv.geometry);
    let activation = activation_tokens(conv.activation);
    quote! {
        kiln_kernels::layers::ConvSpec {
            inputs: #inputs,
            outputs: #outputs,
            geometry: #geometry,
            depthwise: #depthwise,
            activation: #activation,
        }
    }
}

fn geometry_tokens(geometry: &Geometry) -> TokenStream {
    let Geometry { kernel: [k0, k1], stride: [s0, s1], before: [b0, b1], after: [a0, a1] } = geometry;
    quote! {
        kiln_kernels::layers::Geometry { kernel: [#k0, #k1], stride: [#s0, #s1], before: [#b0, #b1], after: [#a0, #a1] }
    }
}

fn pooling_tokens(pooling: Pooling) -> TokenStream {
    let name = format_ident!("{pooling:?}");
    quote!(kiln_kernels::layers::Pooling::#name)
}

fn activation_tokens(activation: Activation) -> TokenStream {
    // As bits, because infinity has no literal.
    let float = |value: f32| {
        let bits = value.to_bits();
        quote!(f32::from_bits(#bits))
    };
    let variant = match activation {
        Activation::Identity => quote!(Identity),
        Activation::HardSwish => quote!(HardSwish),
        Activation::Sigmoid => quote!(Sigmoid),
        Activation::Tanh => quote!(Tanh),
        Activation::Swish => quote!(Swish),
        Activation::Gelu => quote!(Gelu),
        Activation::GeluTanh => quote!(GeluTanh),
        Activation::LeakyRelu { slope } => {
            let slope = float(slope);
            quote!(LeakyRelu { slope: #slope })
        }
        Activation::Clamp { low, high } => {
            let (low, high) = (float(low), float(high));
            quote!(Clamp { low: #low, high: #high })
        }
        Activation::HardSigmoid { alpha, beta } => {
            let (alpha, beta) = (float(alpha), float(beta));
            quote!(HardSigmoid { alpha: #alpha, beta: #beta })
        }
    };
    quote!(kiln_kernels::layers::Activation::#variant)
}
