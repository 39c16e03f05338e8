//! Reads an ONNX file as an image classifier: its input, its output, and the network between them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use kiln_ops::{Activation, Unary};

use crate::classifier_error::{ClassifierError, Obstacle};
use crate::lowering::{Lowering, MAX_NODES, Problem, Var};
use crate::message_text::{MAX_NAMES, listed, shorten, truncated};
use crate::needed_nodes::{first_duplicate, inputs, needed_nodes};
use crate::network::{Layer, LayerKind, Network, Value};
use crate::onnx::{ElementType, GraphProto, ModelProto, NodeProto, OnnxSource, ValueInfoProto};
use crate::passes::{fuse_expanded_depthwise, run_passes};
use crate::report::PassReport;
use crate::tensor_op::{Dim, TensorOp};
use crate::unknown_operators::check_operators;

/// The maximum height and width of an image.
const MAX_SIDE: usize = 1 << 13;
/// ImageNet's classes, without and with the background class of TensorFlow's networks.
const IMAGENET_CLASSES: [usize; 2] = [1000, 1001];
/// The size of an image where neither the file nor the caller has it.
const DEFAULT_SIDE: usize = 224;

/// What the caller decides where the file leaves a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Name of the output, if the file has several. Without it, the first output of the form `[batch, numbers]` is taken.
    pub output: Option<String>,
    /// Height and width of the image, for files that leave them open. Without it, 224 by 224.
    pub image_size: Option<[usize; 2]>,
}

/// A network that was read from an ONNX file.
#[derive(Clone, Debug)]
pub struct Classifier {
    /// The layers, fused. The input is `[batch, height, width, channels]`, f32.
    pub network: Network,
    /// What the network takes.
    pub input: InputInfo,
    /// What it returns.
    pub output: OutputInfo,
    /// Free text of the file by key; `producer` is the program that wrote it.
    pub metadata: BTreeMap<String, String>,
    /// What an operator should know about the file, one sentence each.
    pub notes: Vec<String>,
    /// Whether the network runs one image at a time, because its batch cannot be made dynamic.
    pub is_single: bool,
    /// What the passes did.
    pub passes: Vec<PassReport>,
}

/// The input of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputInfo {
    /// Its name in the file.
    pub name: String,
    /// Height of the image in pixels.
    pub height: usize,
    /// Width of the image in pixels.
    pub width: usize,
    /// 1, 3 or 4.
    pub channels: usize,
    /// Whether the file has the channels last.
    pub channels_last: bool,
    /// The element type of the file, as in NumPy.
    pub element: &'static str,
    /// The values that the network expects.
    pub takes: Takes,
}

/// The values that a network expects of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Normalised by a mean and a standard deviation that the file does not have.
    Normalised,
    /// Pixels from 0 to 255: the input is of type uint8, or the network normalises them itself.
    Pixels,
    /// Pixels from 0 to 1, which the network normalises itself.
    UnitRange,
}

/// The output of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputInfo {
    /// Its name in the file.
    pub name: String,
    /// The number of values for each image.
    pub width: usize,
    /// What the values mean.
    pub kind: OutputKind,
    /// The operator at the end of the file that was taken off: `Softmax`, `LogSoftmax` or `Sigmoid`. Kiln applies it itself.
    pub removed: Option<&'static str>,
}

/// What the numbers of a network mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// One logit for each class; the classes exclude each other. A softmax at the end of the file was taken off.
    Logits,
    /// One logit for each class; the classes are independent. A sigmoid at the end of the file was taken off.
    MultiLabel,
    /// One logit: the image belongs to a class, or not.
    Binary,
    /// Features of the image.
    Embedding,
}

impl Classifier {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not an image classifier, or has operators that Kiln does not support.
    pub fn read(source: &OnnxSource, options: &ReadOptions) -> Result<Self, ClassifierError> {
        let message = source.message();
        let graph =
            message.graph.as_ref().ok_or_else(|| ClassifierError::Interface("The file has no graph.".to_string()))?;
        if graph.node.len() > MAX_NODES {
            let text = format!("The file has {} operators, but at most {MAX_NODES} are supported.", graph.node.len());
            return Err(ClassifierError::Interface(text));
        }
        let input = InputShape::read(graph, options)?;
        let outputs = candidates(graph, options)?;
        if let Some((node, value)) = first_duplicate(graph, &input.name) {
            return Err(Obstacle::duplicate(node, value).into());
        }
        let needed = needed_nodes(graph, &outputs);
        check_operators(message, graph, &input.name, &needed)?;
        let reader = Reader { source, message, input: &input, outputs: &outputs, nodes: &needed };
        match reader.lower(false) {
            Ok(classifier) => Ok(classifier),
            Err(error) if input.fixed_batch.is_none_or(|batch| batch == 1) => match reader.lower(true) {
                Ok(mut classifier) => {
                    classifier.notes.push(format!("Why the batch is not dynamic: {}.", error.reason()));
                    Ok(classifier)
                }
                // What stops a single image is what stops a batch, too.
                Err(of_single) if error.concerns_batch() => Err(of_single),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// As [`Classifier::read`].
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, ClassifierError> {
        Self::read(&OnnxSource::open(path)?, options)
    }
}

/// The image that the file declares.
struct InputShape {
    name: String,
    size: [usize; 2],
    channels: usize,
    channels_last: bool,
    fixed_batch: Option<usize>,
    element: ElementType,
    has_open_size: bool,
}

impl InputShape {
    fn read(graph: &GraphProto, options: &ReadOptions) -> Result<Self, ClassifierError> {
        let wrong = |text: String| ClassifierError::Interface(truncated(text));
        let inputs = open_inputs(graph);
        let [input] = inputs.as_slice() else {
            let names = listed(inputs.iter().map(|input| input.name.as_str()));
            let text = match inputs.len() {
                0 => "The file has no input, but an image classifier has one".to_string(),
                count => format!("The file has {count} inputs ({names}), but an image classifier has one"),
            };
            return Err(wrong(format!("{text}. Export it with the image as its only input.")));
        };
        let name = shorten(&input.name);
        let (element, axes) = value_type(input).ok_or_else(|| {
            wrong(format!(
                "The input '{name}' is not declared as a tensor of numbers with a shape. Export the model with the input [batch, \
                 channels, height, width]."
            ))
        })?;
        let [batch, first, second, third] = axes[..] else {
            return Err(wrong(format!(
                "The input '{name}' has {} axes, but an image has four. Export the model with the input [batch, channels, height, \
                 width].",
                axes.len()
            )));
        };
        let is_channels = |size: Option<usize>| matches!(size, Some(1 | 3 | 4));
        let channels_last = is_channels(third) && !is_channels(first);
        let (channels, height, width) = if channels_last { (third, first, second) } else { (first, second, third) };
        let channels = channels.unwrap_or(3);
        if !matches!(channels, 1 | 3 | 4) {
            return Err(wrong(format!(
                "The input '{name}' has {channels} channels, but an image has 1 (grey), 3 (RGB) or 4 (RGB and alpha)."
            )));
        }
        let chosen = options.image_size.unwrap_or([DEFAULT_SIDE; 2]);
        let size = [height.unwrap_or(chosen[0]), width.unwrap_or(chosen[1])];
        if size.iter().any(|side| !(1..=MAX_SIDE).contains(side)) {
            return Err(wrong(format!(
                "The image of the input '{name}' is {} by {} pixels, but each side must be from 1 to {MAX_SIDE}. Export it with \
                 another size.",
                size[0], size[1]
            )));
        }
        Ok(Self {
            name: input.name.clone(),
            size,
            channels,
            channels_last,
            fixed_batch: batch,
            element,
            has_open_size: height.is_none() || width.is_none(),
        })
    }
}

/// The inputs whose values the file does not have. If there are several, those that no operator reads do not count.
fn open_inputs(graph: &GraphProto) -> Vec<&ValueInfoProto> {
    let known: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut open: Vec<&ValueInfoProto> =
        graph.input.iter().filter(|input| !known.contains(input.name.as_str())).collect();
    if open.len() > 1 {
        let read: HashSet<&str> = graph.node.iter().flat_map(inputs).collect();
        open.retain(|input| read.contains(input.name.as_str()));
    }
    open
}

/// Element type and axes of an input; `None` is an axis that the file leaves open. 0 and negative sizes are open, too.
fn value_type(value: &ValueInfoProto) -> Option<(ElementType, Vec<Option<usize>>)> {
    let tensor = value.r#type.as_ref()?.tensor_type.as_ref()?;
    let element = ElementType::from_onnx(tensor.elem_type)?;
    let size = |value: i64| usize::try_from(value).ok().filter(|size| *size > 0);
    let axes = tensor.shape.as_ref()?.dim.iter().map(|dim| dim.dim_value.and_then(size)).collect();
    Some((element, axes))
}

/// The outputs among which the classes are sought, by name.
fn candidates(graph: &GraphProto, options: &ReadOptions) -> Result<Vec<String>, ClassifierError> {
    let names: Vec<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    match &options.output {
        // Any value may be the output: the features before the last layer, say.
        Some(name) if names.contains(name) || graph.node.iter().any(|node| node.output.contains(name)) => {
            Ok(vec![name.clone()])
        }
        Some(name) => Err(ClassifierError::Interface(format!(
            "The file has no output '{}'. Its outputs are: {}.",
            shorten(name),
            listed(names.iter().map(String::as_str))
        ))),
        None if names.is_empty() => Err(ClassifierError::Interface(
            "The file has no outputs. Select the value that has the logits with --output.".to_string(),
        )),
        None => Ok(names),
    }
}

struct Reader<'a> {
    source: &'a OnnxSource,
    message: &'a ModelProto,
    input: &'a InputShape,
    outputs: &'a [String],
    nodes: &'a [&'a NodeProto],
}

impl Reader<'_> {
    /// Converts the file. `is_single` fixes the batch at one image.
    fn lower(&self, is_single: bool) -> Result<Classifier, ClassifierError> {
        let InputShape { size: [height, width], channels, channels_last, fixed_batch, .. } = *self.input;
        let mut lowering = Lowering::new(self.source, fixed_batch);
        let batch = if is_single { Dim::fixed(1) } else { Dim::batch() };
        let [c, h, w] = [channels, height, width].map(Dim::fixed);
        // In memory, the channels are last.
        let input = match channels_last {
            true => lowering.input(vec![batch, h, w, c], vec![0, 1, 2, 3]),
            false => lowering.input(vec![batch, c, h, w], vec![0, 2, 3, 1]),
        };
        let input_value = input.value;
        lowering.set(&self.input.name, crate::lowering::Fact::computed(input).with_element(self.input.element));
        let opset = |domain: &str| {
            let own = self.message.opset_import.iter().find(|import| import.domain == domain);
            own.map(|import| import.version)
        };
        let opset = opset("").or_else(|| opset("ai.onnx")).unwrap_or(1);
        self.convert(&mut lowering, opset)?;
        let (name, var) = self.choose_output(&lowering, batch)?;
        let unreadable = |Problem { reason, .. }, next_step: &str| {
            let reason = truncated(reason);
            ClassifierError::Interface(format!("The file cannot be read as a classifier: {reason}.{next_step}"))
        };
        let var = to_rows(&mut lowering, &var, batch)
            .map_err(|problem| unreadable(problem, " Select another value with --output."))?;
        lowering.check_excess().map_err(|problem| unreadable(problem, ""))?;
        let width = var.dims.get(1).map_or(0, |dim| dim.size);
        let mut network = Network {
            layers: lowering.layers,
            image_size: self.input.size,
            input: input_value,
            output: var.value,
            classes: width,
        };
        let kind = strip_end(&mut network)?;
        let takes = takes(&network, self.input.element);
        let mut passes = run_passes(&mut network);
        passes.push(fuse_expanded_depthwise(&mut network));
        if network.output != network.input && !network.layers.iter().any(|layer| layer.inputs.contains(&network.input))
        {
            let text = format!("The output '{}' does not depend on the image.", shorten(&name));
            return Err(ClassifierError::Interface(text));
        }
        let mut notes = self.notes(is_single, &name);
        if kind.1.is_some() {
            notes.push("The activation at the end of the file was taken off; Kiln applies it itself.".to_string());
        }
        Ok(Classifier {
            network,
            input: InputInfo {
                name: self.input.name.clone(),
                height: self.input.size[0],
                width: self.input.size[1],
                channels,
                channels_last,
                element: self.input.element.name(),
                takes,
            },
            output: OutputInfo { name, width, kind: kind.0, removed: kind.1 },
            metadata: self.metadata(),
            notes,
            is_single,
            passes,
        })
    }

    /// Converts the nodes. Those that depend on a node that cannot be converted are left out, so that all obstacles that do not
    /// depend on each other are found.
    fn convert<'b>(&'b self, lowering: &mut Lowering<'b>, opset: i64) -> Result<(), ClassifierError> {
        let (mut obstacles, mut unknown): (Vec<Obstacle>, HashSet<&str>) = (Vec::new(), HashSet::new());
        for node in self.nodes {
            let is_left_out = !unknown.is_empty() && inputs(node).iter().any(|input| unknown.contains(input));
            let converted = if is_left_out { Ok(()) } else { lowering.node(node, opset) };
            if is_left_out || converted.is_err() {
                unknown.extend(node.output.iter().filter(|output| !output.is_empty()).map(String::as_str));
            }
            if let Err(problem) = converted {
                obstacles.push(Obstacle::new(node, problem));
                if obstacles.len() > MAX_NAMES || lowering.check_excess().is_err() {
                    break;
                }
            }
        }
        if obstacles.is_empty() { Ok(()) } else { Err(ClassifierError::Operators(obstacles)) }
    }

    /// The first output that is one row of numbers for each image of the batch.
    fn choose_output(&self, lowering: &Lowering<'_>, batch: Dim) -> Result<(String, Var), ClassifierError> {
        let mut found = Vec::new();
        for name in self.outputs {
            let Some(fact) = lowering.get(name) else {
                found.push(format!("'{}', which no operator computes", shorten(name)));
                continue;
            };
            let Some(var) = fact.as_var() else {
                found.push(format!("'{}', which does not depend on the image", shorten(name)));
                continue;
            };
            let large = var.dims.iter().skip(1).filter(|dim| !dim.is_one()).count();
            let is_row = var.rank() >= 2 && large <= 1 && var.dims[1..].iter().all(|dim| !dim.batched);
            let is_scalar = var.rank() == 1;
            // A file for a single image may leave the batch out.
            let is_bare_row = is_scalar && batch == Dim::fixed(1);
            if (is_row || is_scalar) && var.dims[0] == batch || is_bare_row {
                return Ok((name.clone(), var.clone()));
            }
            found.push(format!("'{}' of shape {}", shorten(name), crate::lowering::show(&var.dims)));
        }
        let others = found.len().saturating_sub(MAX_NAMES);
        found.truncate(MAX_NAMES);
        if others > 0 {
            found.push(format!("{others} others"));
        }
        Err(ClassifierError::Interface(format!(
            "No output of the file is one row of numbers for each image, as a classifier's is. Its outputs: {}. If another value of \
             the file has the logits, select it with --output.",
            found.join(", ")
        )))
    }

    fn metadata(&self) -> BTreeMap<String, String> {
        let message = self.message;
        let producer = format!("{} {}", message.producer_name, message.producer_version).trim().to_string();
        let entries = message.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
        let producer = (!producer.is_empty()).then(|| ("producer".to_string(), producer));
        producer.into_iter().chain(entries).collect()
    }

    fn notes(&self, is_single: bool, output: &str) -> Vec<String> {
        let mut notes = Vec::new();
        if is_single {
            notes.push(
                "The batch of the file cannot be made dynamic: Kiln runs one image at a time, which is slower under load. \
                 Export it with a dynamic batch axis."
                    .to_string(),
            );
        } else if let Some(batch) = self.input.fixed_batch {
            notes.push(format!("The fixed batch of {batch} was made dynamic."));
        }
        if self.input.has_open_size {
            let [height, width] = self.input.size;
            notes.push(format!("The file leaves the size of the image open; Kiln uses {height} by {width} pixels."));
        }
        if self.outputs.len() > 1 {
            let others: BTreeSet<&String> = self.outputs.iter().filter(|name| *name != output).collect();
            let others = listed(others.into_iter().map(String::as_str));
            notes.push(format!("Kiln serves the output '{}'. The file has others: {others}.", shorten(output)));
        }
        notes
    }
}

/// The output as `[batch, numbers]` in this order.
fn to_rows(lowering: &mut Lowering<'_>, var: &Var, batch: Dim) -> Result<Var, Problem> {
    let has_batch = usize::from(var.dims.first() == Some(&batch));
    let width = var.dims.iter().skip(has_batch).try_fold(1_usize, |product, dim| product.checked_mul(dim.as_fixed()?));
    let width = width.ok_or("its output depends on the batch in several axes")?;
    let rows = lowering.reshape(var, &[batch, Dim::fixed(width)])?;
    Ok(lowering.in_file_order(&rows))
}

/// Takes a softmax or a sigmoid off the end, and says what the numbers mean and what was taken off.
///
/// # Errors
///
/// The numbers are computed from probabilities, and a second softmax would change them.
fn strip_end(network: &mut Network) -> Result<(OutputKind, Option<&'static str>), ClassifierError> {
    let is_single = network.classes == 1;
    let logits = if is_single { OutputKind::Binary } else { OutputKind::Logits };
    // Networks whose last layer is pooling give features. SqueezeNet's gives the scores of ImageNet's classes.
    let features = if IMAGENET_CLASSES.contains(&network.classes) { logits } else { OutputKind::Embedding };
    let Some(end) = End::find(network) else { return Ok((features, None)) };
    let layer = &network.layers[end.layer];
    let kind = match &layer.kind {
        // A softmax over other numbers than the classes is part of the network.
        LayerKind::Tensor(TensorOp::Softmax { size, is_log, .. }) if !is_single && *size == network.classes => {
            (OutputKind::Logits, if *is_log { "LogSoftmax" } else { "Softmax" })
        }
        LayerKind::Tensor(TensorOp::Unary(Unary::Sigmoid)) if is_single => (OutputKind::Binary, "Sigmoid"),
        LayerKind::Tensor(TensorOp::Unary(Unary::Sigmoid)) => (OutputKind::MultiLabel, "Sigmoid"),
        _ if end.has_changes => return Ok((logits, None)),
        LayerKind::Tensor(TensorOp::LayerNorm { .. } | TensorOp::Reduce { .. }) | LayerKind::GlobalAveragePool => {
            return Ok((features, None));
        }
        // Features divided by their norm.
        LayerKind::Tensor(TensorOp::Binary(kiln_ops::Binary::Div)) | LayerKind::Pool(..) => {
            return Ok((features, None));
        }
        _ => return Ok((logits, None)),
    };
    if end.has_changes {
        return Err(ClassifierError::Interface(format!(
            "The output is computed from the probabilities of {}, and Kiln would apply a {} to it again. Choose the value before \
             that operator with --output.",
            layer.node, kind.1
        )));
    }
    // What follows reads what the activation read. Rounding to integers that follows is for probabilities alone.
    let (from, to) = (layer.output, layer.inputs[0]);
    let quantisation = end.quantisation;
    let rename: HashMap<Value, Value> =
        quantisation.iter().map(|index| (network.layers[*index].output, to)).chain([(from, to)]).collect();
    for layer in &mut network.layers {
        layer.inputs.iter_mut().for_each(|input| *input = *rename.get(input).unwrap_or(input));
    }
    network.output = *rename.get(&network.output).unwrap_or(&network.output);
    let mut removed: Vec<usize> = quantisation.into_iter().chain([end.layer]).collect();
    removed.sort_unstable();
    removed.into_iter().rev().for_each(|index| drop(network.layers.remove(index)));
    Ok((kind.0, Some(kind.1)))
}

/// The end of a network: the last layer that is more than a function of single numbers.
struct End {
    layer: usize,
    /// Layers behind it that round to the integers of a quantised file and back.
    quantisation: Vec<usize>,
    /// Whether other layers behind it change or select numbers.
    has_changes: bool,
}

impl End {
    fn find(network: &Network) -> Option<Self> {
        let producers: HashMap<Value, usize> =
            network.layers.iter().enumerate().map(|(index, layer)| (layer.output, index)).collect();
        let (mut value, mut quantisation, mut has_changes) = (network.output, Vec::new(), false);
        loop {
            let index = *producers.get(&value)?;
            let layer: &Layer = &network.layers[index];
            let is_quantisation = ["QuantizeLinear", "DequantizeLinear"]
                .iter()
                .any(|name| layer.node.split([' ', ':']).any(|part| part == *name));
            match &layer.kind {
                LayerKind::Tensor(TensorOp::Reshape(_) | TensorOp::Permute(_)) => {}
                LayerKind::Affine { .. } | LayerKind::Activation(_) | LayerKind::Tensor(TensorOp::Unary(_))
                    if is_quantisation =>
                {
                    quantisation.push(index);
                }
                LayerKind::Affine { .. }
                | LayerKind::Activation(Activation::Clamp { .. })
                | LayerKind::Tensor(
                    TensorOp::Unary(Unary::Exp | Unary::Log | Unary::Power(_))
                    | TensorOp::Slice { .. }
                    | TensorOp::Select { .. }
                    | TensorOp::Pad { .. },
                ) => has_changes = true,
                _ => return Some(Self { layer: index, quantisation, has_changes }),
            }
            value = *layer.inputs.first()?;
        }
    }
}

/// What the network expects: it is asked before the passes, which may move a normalisation into the first convolution.
fn takes(network: &Network, element: ElementType) -> Takes {
    if !element.is_float() {
        return Takes::Pixels;
    }
    let first: Vec<&Layer> = network.layers.iter().filter(|layer| layer.inputs.contains(&network.input)).collect();
    let [layer] = first.as_slice() else { return Takes::Normalised };
    let LayerKind::Affine { factor, summand } = &layer.kind else { return Takes::Normalised };
    // A batch norm, or the scale of a quantised input, says nothing about the pixels.
    if !["Sub", "Div", "Mul", "Add"].iter().any(|operator| layer.node.split(' ').next() == Some(*operator)) {
        return Takes::Normalised;
    }
    let is_small = |value: f32| value.abs() <= 2.0;
    let divides_pixels = factor.iter().any(|factor| factor.abs() < 0.1);
    let mean = |index: usize| -summand[index] / factor[index];
    let has_pixel_mean = (0..factor.len()).any(|index| !is_small(mean(index)));
    if divides_pixels || has_pixel_mean { Takes::Pixels } else { Takes::UnitRange }
}
