//! In which class's folder the pictures of an export lie. One picture may have been judged several times, and differently: its last
//! feedback decides, so that it lies in one folder, or in none.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use super::dataset::IMAGES;
use kiln_feedback::LabelledPrediction;

/// The most characters of a label in a folder's name.
const SLUG: usize = 40;

type Class = (u32, String);

/// What is known of all pictures. To be shown all feedback before the first question.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// By the model's name, for another has other classes, and the picture.
    said: HashMap<(String, [u8; 32]), Vec<Said>>,
    models: BTreeSet<String>,
}

/// One piece of feedback on a picture.
#[derive(Debug)]
struct Said {
    /// When it was given, and the prediction's id, as everything is ordered.
    at: (SystemTime, [u8; 16]),
    predicted: Class,
    truth: Option<Class>,
}

impl Placement {
    /// One more piece of feedback, in any order.
    pub(super) fn see(&mut self, model: &str, judged: &LabelledPrediction) {
        self.models.insert(model.to_string());
        let Some(picture) = &judged.image else { return };
        let (predicted, truth) = (judged.predicted.clone(), judged.true_class.clone());
        let said = Said { at: (judged.time, judged.prediction.into_bytes()), predicted, truth };
        self.said.entry((model.to_string(), picture.sha256)).or_default().push(said);
    }

    /// The folder of a judged picture of that class; nothing where later feedback has put it elsewhere.
    pub(super) fn folder(&mut self, model: &str, judged: &LabelledPrediction, class: &Class) -> Option<String> {
        let key = (model.to_string(), judged.image.as_ref()?.sha256);
        // It may have been judged, or judged anew, since all was shown.
        let id = judged.prediction.into_bytes();
        self.said.entry(key.clone()).or_default().retain(|said| said.at.1 != id);
        self.see(model, judged);
        (decided(self.said.get_mut(&key)?) == Some(class)).then(|| self.named(model, class))
    }

    /// By the class, and where there are several models by the model, whose classes have the same numbers.
    fn named(&self, model: &str, (class_id, label): &Class) -> String {
        let class = format!("{class_id:04}_{}", slug(label));
        if self.models.len() > 1 { format!("{IMAGES}/{}/{class}", safe(model)) } else { format!("{IMAGES}/{class}") }
    }
}

/// The class that was named last, if nobody has said since that it is wrong.
fn decided(said: &mut [Said]) -> Option<&Class> {
    said.sort_by_key(|one| one.at);
    said.iter().fold(None, |class, one| match &one.truth {
        None if class == Some(&one.predicted) => None,
        None => class,
        named => named.as_ref(),
    })
}

/// A label as a part of a folder's name: lower case, letters and digits of ASCII, all else one underscore.
fn slug(label: &str) -> String {
    let mut slug = String::new();
    for c in label.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('_') {
            slug.push('_');
        }
    }
    slug.truncate(SLUG);
    slug.trim_end_matches('_').to_string()
}

/// A model's name as that of a folder, which it is already as long as a build has made it.
fn safe(model: &str) -> String {
    let nameable = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    model.trim_start_matches('.').replace(|c| !nameable(c), "_")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kiln_feedback::{FeedbackKind, StoredImage};
    use uuid::Uuid;

    use super::*;

    /// Feedback at a second on the one picture that there is, which was taken for a cat.
    fn judged(second: u64, truth: Option<(u32, &str)>) -> LabelledPrediction {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        LabelledPrediction {
            prediction: Uuid::now_v7(),
            time,
            predicted: (285, "Egyptian cat".to_string()),
            probability: 0.5,
            top_classes: vec![285],
            kind: if truth.is_some() { FeedbackKind::Label } else { FeedbackKind::Wrong },
            true_class: truth.map(|(class_id, label)| (class_id, label.to_string())),
            note: None,
            image_was_stored: true,
            image: Some(StoredImage { sha256: [7; 32], extension: "png".to_string() }),
        }
    }

    fn folder(placement: &mut Placement, judged: &LabelledPrediction) -> Option<String> {
        placement.folder("net", judged, judged.true_class.as_ref().unwrap())
    }

    #[test]
    fn the_last_feedback_on_a_picture_decides() {
        let mut placement = Placement::default();
        let (cat, tabby) = (judged(1, Some((285, "Egyptian cat"))), judged(2, Some((281, "tabby"))));
        // Versions of a model come one after the other, so the order is any.
        [&tabby, &cat].into_iter().for_each(|one| placement.see("net", one));
        assert_eq!(folder(&mut placement, &tabby).as_deref(), Some("images/0281_tabby"));
        assert_eq!(folder(&mut placement, &cat), None);
        // That it is no cat was known.
        placement.see("net", &judged(3, None));
        assert!(folder(&mut placement, &tabby).is_some());
        let again = judged(4, Some((285, "Egyptian cat")));
        placement.see("net", &again);
        assert_eq!(folder(&mut placement, &cat).as_deref(), Some("images/0285_egyptian_cat"));
        assert_eq!(folder(&mut placement, &tabby), None);
        // And that it is none after all.
        placement.see("net", &judged(5, None));
        assert_eq!((folder(&mut placement, &cat), folder(&mut placement, &tabby)), (None, None));
    }

    #[test]
    fn models_have_folders_of_their_own_where_there_are_several() {
        let mut placement = Placement::default();
        let (cat, dog) = (judged(1, Some((285, "Egyptian cat"))), judged(2, Some((1, "dog"))));
        placement.see("net", &cat);
        placement.see("dogs", &dog);
        assert_eq!(folder(&mut placement, &cat).as_deref(), Some("images/net/0285_egyptian_cat"));
        let class = dog.true_class.clone().unwrap();
        assert_eq!(placement.folder("dogs", &dog, &class).as_deref(), Some("images/dogs/0001_dog"));
        // Feedback that was given since the others were looked at.
        let mut other = judged(3, Some((2, "bird")));
        other.image.as_mut().unwrap().sha256 = [8; 32];
        assert_eq!(folder(&mut placement, &other).as_deref(), Some("images/net/0002_bird"));
    }

    #[test]
    fn slugs_are_safe_names_of_folders() {
        assert_eq!(slug("Egyptian cat"), "egyptian_cat");
        assert_eq!(slug("../../etc/passwd"), "etc_passwd");
        assert_eq!(slug("jack-o'-lantern, Halloween (toy)"), "jack_o_lantern_halloween_toy");
        assert_eq!(slug("Käse"), "k_se");
        assert_eq!(slug("日本"), "");
        assert!(slug(&"long ".repeat(99)).len() <= SLUG);
        assert_eq!(
            (safe("efficientnet-lite0"), safe("../x/y")),
            ("efficientnet-lite0".to_string(), "_x_y".to_string())
        );
    }
}
