//! The repository as a whole: networks are loaded on the CPU, and commands are executed.

use std::io;
use std::time::SystemTime;

use super::super::*;
use crate::config::{Config, Sources};
use kiln_api::model_repository::{VersionState, VersionStatus};
use kiln_classifier::batching::os_thread;
use kiln_classifier::registry::Registry;
use kiln_classifier::{EncodedImage, RequestOptions};
use tokio::sync::{mpsc, oneshot, watch};

const MS: Duration = Duration::from_millis(1);

/// A running repository.
struct Running {
    repository: ModelRepository,
    registry: Registry,
    commands: mpsc::Sender<RepositoryCommand>,
    status: watch::Receiver<Arc<[VersionStatus]>>,
}

impl Running {
    /// Starts a repository that looks at its folder only for commands.
    async fn start(folder: &Path) -> Result<Self, LoadError> {
        let flags = [("device", "cpu"), ("max-batch-size", "1"), ("decode-threads", "1")];
        let flags = flags.into_iter().map(|(key, value)| (key, value.to_string())).collect();
        let config = Config::from_sources(&Sources::gather(&flags, &|_: &str| None, None).unwrap()).unwrap();
        let options = config.model_file_options.clone();
        let loader = load::join(spawn_blocking(move || ModelLoader::open(&config, None)).await)?;
        let registry = Registry::default();
        let served = ServedModels::new(registry.clone());
        let (commands, commands_out) = mpsc::channel(1);
        let (status_in, status) = watch::channel(Arc::default());
        let setup = RepositorySetup {
            loader,
            options,
            poll_interval: Duration::from_secs(3600),
            reserved: BTreeSet::new(),
            served: served.clone(),
            readiness: Readiness::starting(),
            task: RepositoryTask { commands: commands_out, status: status_in },
        };
        let repository = ModelRepository::start(folder, setup).await?;
        served.open();
        Ok(Self { repository, registry, commands, status })
    }

    /// Executes the command of a client.
    async fn load(&mut self, model: &str) -> Result<(), RepositoryError> {
        let (reply, result) = oneshot::channel();
        let command = RepositoryCommand { action: RepositoryAction::Load, model: model.to_string(), reply };
        self.commands.send(command).await.unwrap();
        tokio::select! {
            never = self.repository.run() => match never {},
            result = result => result.unwrap(),
        }
    }

    /// Classifies an image and returns the version that did it.
    async fn classify(&self, model: &str) -> String {
        let classifier = self.registry.resolve(Some(model), None).unwrap();
        let bytes = std::fs::read("tests/data/photos/cat_451x300.jpg").unwrap();
        let image = EncodedImage { bytes: bytes.into(), file_name: None };
        classifier.classify(image, RequestOptions::default()).await.unwrap();
        classifier.model().version().to_string()
    }
}

/// Returns a small network of ten classes.
fn network(name: &str) -> Vec<u8> {
    let path = Path::new("crates/zoo/skeletons").join(name).with_extension("onnx");
    kiln_zoo::fill(&std::fs::read(path).unwrap()).unwrap()
}

/// Writes a network that was modified a minute ago.
fn write_old(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

/// Copies a network so slowly that two looks never find the same file before it is complete.
async fn copy_slowly(path: PathBuf, content: Vec<u8>) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    for length in [1, 2, 3, content.len()] {
        std::fs::write(&path, &content[..length]).unwrap();
        // A slow test does not make it an old file.
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        tokio::time::sleep(NEXT_LOOK - 100 * MS).await;
    }
}

#[tokio::test]
async fn version_whose_thread_is_refused_is_not_loaded_and_the_served_version_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let version = |number: &str| folder.path().join("cat").join(number).join("model.onnx");
    write_old(&version("1"), &network("act_silu"));
    let mut running = Running::start(folder.path()).await.unwrap();
    running.repository.setup.loader.resources.spawn = |_, _| Err(io::ErrorKind::WouldBlock.into());
    write_old(&version("2"), &network("lay_grouped"));
    let error = running.load("cat").await.unwrap_err().to_string();
    assert!(error.contains("refuses a thread for engine 0") && error.contains("ulimit -u"), "{error}");
    let status = running.status.borrow().to_vec();
    let states: Vec<_> = status.iter().map(|version| (version.version.as_deref(), version.state)).collect();
    assert_eq!(states, [(Some("2"), VersionState::Unavailable), (Some("1"), VersionState::Ready)]);
    let failure = status[0].load_error.clone().unwrap();
    assert!(failure.file == "cat/2/model.onnx" && failure.reason.contains("refuses a thread"), "{failure:?}");
    assert_eq!(running.classify("cat").await, "1");
    running.repository.setup.loader.resources.spawn = os_thread;
    running.load("cat").await.unwrap();
    assert_eq!(running.classify("cat").await, "2");
    running.repository.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn start_waits_for_a_network_that_is_being_copied() {
    let folder = tempfile::tempdir().unwrap();
    let copy = tokio::spawn(copy_slowly(folder.path().join("cat/1/model.onnx"), network("act_silu")));
    tokio::task::yield_now().await;
    let running = Running::start(folder.path()).await.unwrap();
    assert!(running.registry.resolve(Some("cat"), Some("1")).is_ok());
    copy.await.unwrap();
    running.repository.shut_down().await;
}

#[tokio::test(start_paused = true)]
async fn command_waits_for_a_network_that_is_being_copied() {
    let folder = tempfile::tempdir().unwrap();
    write_old(&folder.path().join("cat/1/model.onnx"), &network("act_silu"));
    let mut running = Running::start(folder.path()).await.unwrap();
    let copy = tokio::spawn(copy_slowly(folder.path().join("cat/2/model.onnx"), network("lay_grouped")));
    tokio::task::yield_now().await;
    running.load("cat").await.unwrap();
    assert!(running.registry.resolve(Some("cat"), Some("2")).is_ok());
    assert_eq!(running.load("cow").await, Err(RepositoryError::UnknownModel("cow".to_string())));
    copy.await.unwrap();
    running.repository.shut_down().await;
}
