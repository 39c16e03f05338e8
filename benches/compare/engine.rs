//! The CPU engine as a program that `compare.py` drives in turns with ONNX Runtime.
//!
//! `engine THREADS PRECISION` answers each line of its standard input with one line: `logits N` with the logits of the first N golden
//! pictures, `run BATCH SECONDS` with the pictures a second of that batch size over that time.
#![forbid(unsafe_code)]

use std::io::BufRead;
use std::time::{Duration, Instant};

use kiln_image::PreparedImage;
use kiln_inference::model::Model;
use kiln_inference::{
    self, BurnEngine, DeviceChoice, Engine, KernelChoice, Options, ResizeChoice, Sample, configure_cpu, device,
};

const LARGEST: usize = 64;

/// The pictures of `tests/data/golden` in the order of their names, again and again.
fn pictures() -> Vec<Sample> {
    let entries = std::fs::read_dir("tests/data/golden").expect("this runs in the project's folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    files.sort();
    let open = |path| image::open(path).expect("a picture").into_rgb8();
    let prepare = |p: image::RgbImage| Sample::from(PreparedImage::new(p.width(), p.height(), p.into_raw().into()));
    let prepared: Vec<_> = files.iter().map(open).map(prepare).collect();
    prepared.iter().cycle().take(LARGEST).cloned().collect()
}

fn run(engine: &mut BurnEngine, batch: &[Sample], time: Duration) -> f64 {
    let (start, mut runs) = (Instant::now(), 0);
    while start.elapsed() < time {
        engine.run(batch).expect("the engine runs");
        runs += 1;
    }
    (runs * batch.len()) as f64 / start.elapsed().as_secs_f64()
}

fn answer(engine: &mut BurnEngine, pictures: &[Sample], line: &str) -> String {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["logits", n] => {
            let rows = engine.run(&pictures[..n.parse().expect("a number")]).expect("the engine runs");
            serde_json::to_string(&rows).expect("rows of numbers")
        }
        ["run", batch, seconds] => {
            let time = Duration::from_secs_f64(seconds.parse().expect("a number"));
            run(engine, &pictures[..batch.parse().expect("a number")], time).to_string()
        }
        _ => panic!("'{line}' is neither 'logits N' nor 'run BATCH SECONDS'"),
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let threads = arguments.next().and_then(|text| text.parse().ok());
    let precision = arguments.next().and_then(|text| text.parse().ok());
    let (Some(threads), Some(precision)) = (threads, precision) else {
        eprintln!("This is driven by benches/compare/compare.py; start that.");
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
    let device = device::choose(&DeviceChoice::Cpu).expect("there is always a CPU");
    configure_cpu(&config, &device).expect("the processor has the precision");
    let model = Model::named("efficientnet-lite0").expect("the default model was built in");
    let mut engine = BurnEngine::start(model, &device, &Options::new(LARGEST), |_| ()).expect("the model runs");
    let pictures = pictures();
    for line in std::io::stdin().lock().lines() {
        println!("{}", answer(&mut engine, &pictures, &line.expect("text")));
    }
}
