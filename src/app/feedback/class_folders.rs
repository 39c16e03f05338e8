//! The class folder of each image of an export. An image may have several pieces of feedback that contradict each
//! other: the last one decides, so that the image lies in one folder or in none.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use kiln_feedback::LabelledPrediction;

use super::IMAGES;

/// Maximum number of characters of a label in the name of a folder.
const MAX_LABEL_CHARS: usize = 40;

/// Number and label of a class.
type Class = (u32, String);

/// All feedback on images. [`Self::add`] must have seen all of it before the first call of [`Self::folder`].
#[derive(Debug, Default)]
pub(super) struct ClassFolders {
    /// By model name, since each model has its own classes, and by the SHA-256 of the image.
    feedback: HashMap<(String, [u8; 32]), Vec<ImageFeedback>>,
    models: BTreeSet<String>,
}

/// One piece of feedback on an image.
#[derive(Debug)]
struct ImageFeedback {
    /// Time of the feedback and id of the prediction: the order of the feedback.
    order: (SystemTime, [u8; 16]),
    predicted: Class,
    true_class: Option<Class>,
}

impl ClassFolders {
    /// Adds a piece of feedback. The order of the calls does not matter.
    pub(super) fn add(&mut self, model: &str, labelled: &LabelledPrediction) {
        self.models.insert(model.to_string());
        let Some(image) = &labelled.image else { return };
        let (predicted, true_class) = (labelled.predicted.clone(), labelled.true_class.clone());
        let order = (labelled.time, labelled.prediction.into_bytes());
        let feedback = ImageFeedback { order, predicted, true_class };
        self.feedback.entry((model.to_string(), image.sha256)).or_default().push(feedback);
    }

    /// Returns the folder of the image for this class, or `None` if later feedback on the image contradicts the class.
    pub(super) fn folder(&mut self, model: &str, labelled: &LabelledPrediction, class: &Class) -> Option<String> {
        let key = (model.to_string(), labelled.image.as_ref()?.sha256);
        // A running server may have received this feedback, or replaced it, after the calls of `add`.
        let id = labelled.prediction.into_bytes();
        self.feedback.entry(key.clone()).or_default().retain(|feedback| feedback.order.1 != id);
        self.add(model, labelled);
        (decided_class(self.feedback.get_mut(&key)?) == Some(class)).then(|| self.folder_name(model, class))
    }

    /// Returns the folder of the class. With several models, each model has its own folder, since their class numbers
    /// overlap.
    fn folder_name(&self, model: &str, (class_id, label): &Class) -> String {
        let class = format!("{class_id:04}_{}", slug(label));
        if self.models.len() > 1 {
            format!("{IMAGES}/{}/{class}", safe_name(model))
        } else {
            format!("{IMAGES}/{class}")
        }
    }
}

/// Returns the last true class, unless later feedback says that this class is wrong.
fn decided_class(feedback: &mut [ImageFeedback]) -> Option<&Class> {
    feedback.sort_by_key(|one| one.order);
    feedback.iter().fold(None, |class, one| match &one.true_class {
        None if class == Some(&one.predicted) => None,
        None => class,
        true_class => true_class.as_ref(),
    })
}

/// Returns a label as part of a folder name: lower-case ASCII letters and digits, and one underscore for any other
/// sequence.
fn slug(label: &str) -> String {
    let mut slug = String::new();
    for c in label.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(MAX_LABEL_CHARS);
    slug.trim_end_matches('_').to_string()
}

/// Returns a model name as a folder name. The name of a built-in model is one already.
fn safe_name(model: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    model.trim_start_matches('.').replace(|c| !is_safe(c), "_")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_feedback::{FeedbackKind, StoredImage};
    use uuid::Uuid;

    use super::*;

    /// Returns feedback at a second on one image, whose prediction was a cat.
    fn labelled(second: u64, true_class: Option<(u32, &str)>) -> LabelledPrediction {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        LabelledPrediction {
            prediction: Uuid::now_v7(),
            time,
            predicted: (285, "Egyptian cat".to_string()),
            probability: 0.5,
            top_classes: vec![285],
            kind: if true_class.is_some() { FeedbackKind::Label } else { FeedbackKind::Wrong },
            true_class: true_class.map(|(class_id, label)| (class_id, label.to_string())),
            note: None,
            image_was_stored: true,
            image: Some(StoredImage { sha256: [7; 32], extension: "png".to_string() }),
        }
    }

    fn folder(folders: &mut ClassFolders, labelled: &LabelledPrediction) -> Option<String> {
        folders.folder("net", labelled, labelled.true_class.as_ref().unwrap())
    }

    #[test]
    fn last_feedback_on_an_image_decides() {
        let mut folders = ClassFolders::default();
        let (cat, tabby) = (labelled(1, Some((285, "Egyptian cat"))), labelled(2, Some((281, "tabby"))));
        // Feedback arrives version by version, so not in the order of its times.
        [&tabby, &cat].into_iter().for_each(|one| folders.add("net", one));
        assert_eq!(folder(&mut folders, &tabby).as_deref(), Some("images/0281_tabby"));
        assert_eq!(folder(&mut folders, &cat), None);
        // "Not a cat" does not contradict a tabby.
        folders.add("net", &labelled(3, None));
        assert!(folder(&mut folders, &tabby).is_some());
        let again = labelled(4, Some((285, "Egyptian cat")));
        folders.add("net", &again);
        assert_eq!(folder(&mut folders, &cat).as_deref(), Some("images/0285_egyptian_cat"));
        assert_eq!(folder(&mut folders, &tabby), None);
        // "Not a cat" contradicts the cat.
        folders.add("net", &labelled(5, None));
        assert_eq!((folder(&mut folders, &cat), folder(&mut folders, &tabby)), (None, None));
    }

    #[test]
    fn several_models_have_separate_folders() {
        let mut folders = ClassFolders::default();
        let (cat, dog) = (labelled(1, Some((285, "Egyptian cat"))), labelled(2, Some((1, "dog"))));
        folders.add("net", &cat);
        folders.add("dogs", &dog);
        assert_eq!(folder(&mut folders, &cat).as_deref(), Some("images/net/0285_egyptian_cat"));
        let class = dog.true_class.clone().unwrap();
        assert_eq!(folders.folder("dogs", &dog, &class).as_deref(), Some("images/dogs/0001_dog"));
        // Feedback that arrived after the calls of `add`.
        let mut other = labelled(3, Some((2, "bird")));
        other.image.as_mut().unwrap().sha256 = [8; 32];
        assert_eq!(folder(&mut folders, &other).as_deref(), Some("images/net/0002_bird"));
    }

    #[test]
    fn slugs_are_safe_folder_names() {
        assert_eq!(slug("Egyptian cat"), "egyptian_cat");
        assert_eq!(slug("../../etc/passwd"), "etc_passwd");
        assert_eq!(slug("jack-o'-lantern, Halloween (toy)"), "jack_o_lantern_halloween_toy");
        assert_eq!(slug("Käse"), "k_se");
        assert_eq!(slug("日本"), "");
        assert!(slug(&"long ".repeat(99)).len() <= MAX_LABEL_CHARS);
        assert_eq!(
            (safe_name("efficientnet-lite0"), safe_name("../x/y")),
            ("efficientnet-lite0".to_string(), "_x_y".to_string())
        );
    }
}
