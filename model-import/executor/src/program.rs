//! A network on a device: steps in their order, and when each value is released.

use std::time::{Duration, Instant};

use burn::backend::DispatchTensor;
use burn::tensor::{Device, Tensor};
use kiln_graph::{LayerKind, Value};
use kiln_kernels::Layout;
use model_import::Network;

use crate::profile::{StepInfo, StepTime};
use crate::step::Step;
use crate::tensor_ops::{self, Constant};

/// A network that is ready to run.
#[derive(Debug)]
pub(crate) struct Program {
    instructions: Vec<Instruction>,
    /// Constants by value; they are never released.
    constants: Vec<(Value, Constant)>,
    /// The number of values.
    values: usize,
    input: Value,
    output: Value,
    classes: usize,
    /// Whether each run has a single image.
    is_single: bool,
}

#[derive(Debug)]
struct Instruction {
    step: Step,
    inputs: Vec<Value>,
    output: Value,
    /// Inputs that no later instruction reads.
    released: Vec<Value>,
}

impl Program {
    /// Puts a network on a device. The layers are consumed one by one, so that weights are in memory once.
    pub(crate) fn new(network: kiln_graph::Network, is_single: bool, device: &Device) -> Self {
        let kiln_graph::Network { layers, input, output, classes, .. } = network;
        let values = layers.iter().map(|layer| layer.output).chain([input, output]).max().unwrap_or(0) + 1;
        let (mut instructions, mut constants) = (Vec::with_capacity(layers.len()), Vec::new());
        for layer in layers {
            match layer.kind {
                LayerKind::Constant(array) => {
                    constants.push((layer.output, Constant::new(array.data.to_vec(), &array.shape, device)))
                }
                kind => instructions.push(Instruction {
                    step: Step::new(kind, device),
                    inputs: layer.inputs,
                    output: layer.output,
                    released: Vec::new(),
                }),
            }
        }
        let mut is_read = vec![false; values];
        is_read[output] = true;
        constants.iter().for_each(|(value, _)| is_read[*value] = true);
        for instruction in instructions.iter_mut().rev() {
            for input in &instruction.inputs {
                if !is_read[*input] {
                    is_read[*input] = true;
                    instruction.released.push(*input);
                }
            }
        }
        Self { instructions, constants, values, input, output, classes, is_single }
    }

    /// Runs `images` rows.
    fn run(&self, input: DispatchTensor, images: usize) -> DispatchTensor {
        self.run_with(input, |index, inputs| self.instructions[index].step.run(inputs, images))
    }

    /// Times each step; the best of `runs` runs of `images` rows. `steps` describe the steps in their order.
    pub(crate) fn profile(
        &self,
        steps: &[StepInfo],
        input: DispatchTensor,
        images: usize,
        runs: usize,
    ) -> Vec<StepTime> {
        let step = |info: &StepInfo| StepTime { step: info.name.clone(), time: Duration::MAX, operations: 0 };
        let mut times: Vec<StepTime> = steps.iter().map(step).collect();
        for _ in 0..runs {
            self.run_with(input.clone(), |index, inputs| {
                let shape = inputs.first().map(tensor_ops::shape).unwrap_or_default();
                let begun = Instant::now();
                let output = self.instructions[index].step.run(inputs, images);
                times[index].time = times[index].time.min(begun.elapsed());
                times[index].operations = steps[index].operations(&shape, &tensor_ops::shape(&output));
                output
            });
        }
        times
    }

    /// Runs all steps by `step`, which is passed the index and the inputs of each.
    fn run_with(
        &self,
        input: DispatchTensor,
        mut step: impl FnMut(usize, Vec<DispatchTensor>) -> DispatchTensor,
    ) -> DispatchTensor {
        let mut values: Vec<Option<DispatchTensor>> = vec![None; self.values];
        let dtype = tensor_ops::dtype(&input);
        for (value, constant) in &self.constants {
            values[*value] = Some(constant.in_type(dtype));
        }
        values[self.input] = Some(input);
        for (index, instruction) in self.instructions.iter().enumerate() {
            let inputs = instruction.inputs.iter().map(|value| {
                let is_last = instruction.released.contains(value)
                    && instruction.inputs.iter().filter(|other| *other == value).count() == 1;
                let tensor = if is_last { values[*value].take() } else { values[*value].clone() };
                tensor.expect("the layers are in execution order")
            });
            let inputs = inputs.collect();
            let output = step(index, inputs);
            instruction.released.iter().for_each(|value| values[*value] = None);
            values[instruction.output] = Some(output);
        }
        values[self.output].take().expect("a layer computes the output")
    }
}

impl Network for Program {
    fn layout(&self) -> Layout {
        Layout::ChannelsLast
    }

    fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        let [count, height, width, channels] = images.dims();
        let rows = |images: Tensor<4>, count: usize| {
            let output = self.run(images.into_dispatch(), count);
            Tensor::<2>::from_dispatch(tensor_ops::reshape(output, &[count, self.classes]))
        };
        if !self.is_single || count == 1 {
            return rows(images, count);
        }
        let one = |index: usize| {
            let image = images.clone().slice([index..index + 1, 0..height, 0..width, 0..channels]);
            rows(image, 1)
        };
        Tensor::cat((0..count).map(one).collect(), 0)
    }
}
