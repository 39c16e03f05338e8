//! The CPU engine as a program for `compare.py`, which alternates between it and ONNX Runtime.
//!
//! The arguments are THREADS PRECISION. The program answers each command line on its standard input with one line: `logits N` with the
//! logits of the first N reference images, `run BATCH SECONDS` with the images per second at that batch size, measured for that time.
#![forbid(unsafe_code)]

use std::io::BufRead;
use std::time::{Duration, Instant};

use kiln_image::PreprocessedImage;
use kiln_inference::model::Model;
use kiln_inference::{
    self, BurnEngine, DeviceChoice, Engine, KernelChoice, Options, ResizeChoice, Sample, configure_cpu, device,
};

const MAX_BATCH_SIZE: usize = 64;

/// Returns the images of `tests/data/golden` in the order of their names, repeated up to the maximum batch size.
fn images() -> Vec<Sample> {
    let entries = std::fs::read_dir("tests/data/golden").expect("the program runs in the project directory");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable directory").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    files.sort();
    let open = |path| image::open(path).expect("an image").into_rgb8();
    let prepare = |p: image::RgbImage| Sample::from(PreprocessedImage::new(p.width(), p.height(), p.into_raw().into()));
    let prepared: Vec<_> = files.iter().map(open).map(prepare).collect();
    prepared.iter().cycle().take(MAX_BATCH_SIZE).cloned().collect()
}

fn run(engine: &mut BurnEngine, batch: &[Sample], time: Duration) -> f64 {
    let (start, mut runs) = (Instant::now(), 0);
    while start.elapsed() < time {
        engine.run(batch).expect("the engine runs");
        runs += 1;
    }
    (runs * batch.len()) as f64 / start.elapsed().as_secs_f64()
}

fn execute(engine: &mut BurnEngine, images: &[Sample], command: &str) -> String {
    match command.split_whitespace().collect::<Vec<_>>()[..] {
        ["logits", n] => {
            let rows = engine.run(&images[..n.parse().expect("a number")]).expect("the engine runs");
            serde_json::to_string(&rows).expect("rows of numbers")
        }
        ["run", batch, seconds] => {
            let time = Duration::from_secs_f64(seconds.parse().expect("a number"));
            run(engine, &images[..batch.parse().expect("a number")], time).to_string()
        }
        _ => panic!("'{command}' is neither 'logits N' nor 'run BATCH SECONDS'"),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|text| text.parse().ok());
    let precision = arguments.next().and_then(|text| text.parse().ok());
    let (Some(threads), Some(precision)) = (threads, precision) else {
        eprintln!("this program is run by benches/compare/compare.py; run that script instead");
        return;
    };
    let config = kiln_inference::Config {
        device: DeviceChoice::Cpu.into(),
        threads,
        precision,
        kernels: KernelChoice::Auto,
        resize: ResizeChoice::Auto,
        cache: None,
    };
    let device = device::choose(&DeviceChoice::Cpu).expect("a CPU is always available");
    let device = configure_cpu(&config, device).expect("the processor supports the precision");
    let model = Model::named("efficientnet-lite0").expect("the default model is built in");
    let mut engine = BurnEngine::start(model, &device, &Options::new(MAX_BATCH_SIZE), |_| ()).expect("the model runs");
    let images = images();
    for line in std::io::stdin().lock().lines() {
        println!("{}", execute(&mut engine, &images, &line.expect("text")));
    }
}
