//! Who gets which version.

use super::*;
use crate::batching::Config;
use crate::test_support::idle;
use kiln_image::DecodePool;
use kiln_inference::model::{Model, Weights};

fn classifier(model: Model) -> Arc<Classifier> {
    Arc::new(idle(model, Config::default(), DecodePool::new(1)).0)
}

fn found(registry: &Registry, name: Option<&str>, version: Option<&str>) -> Result<(&'static str, String), String> {
    let model = registry.resolve(name, version).map(|classifier| classifier.model().clone());
    model.map(|model| (model.spec().name, model.version().to_string())).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_request_gets_the_model_that_it_names_and_else_the_default() {
    let registry = Registry::default();
    assert_eq!(registry.resolve(None, None).unwrap_err(), LookupError::Starting);
    let [cat, dog] = [("cat", "1"), ("dog", "7")].map(|(name, version)| classifier(Model::made_up(name, version)));
    let alone = |stable| Versions { stable, canary: None, shadow: None };
    registry.serve("dog".to_string(), vec![alone(cat), alone(dog)]);
    let found = |name, version| found(&registry, name, version);
    let is = |name, version: &str| Ok((name, version.to_string()));
    assert_eq!(found(None, None), is("dog", "7"));
    assert_eq!(found(Some("cat"), None), is("cat", "1"));
    assert_eq!(found(Some("dog"), Some("7")), is("dog", "7"));
    assert_eq!(found(Some("dog"), Some("stable")), is("dog", "7"));
    assert_eq!(found(Some("cow"), None), Err("there is no model 'cow'; there is 'cat', 'dog'".to_string()));
    assert_eq!(found(Some("cat"), Some("7")), Err("model 'cat' has no version '7'; it has '1'".to_string()));
    assert_eq!(found(None, Some("1")), Err("model 'dog' has no version '1'; it has '7'".to_string()));
}

#[tokio::test]
async fn the_canary_gets_its_share_of_those_who_name_no_version_and_the_shadow_nobody() {
    let registry = Registry::default();
    let cat = Model::made_up("cat", "1");
    let other = |version| classifier(cat.with_weights(version, Weights::new(Vec::new())));
    let (stable, canary, shadow) = (classifier(cat.clone()), Some((other("2"), 0.1)), Some(other("3")));
    registry.serve("cat".to_string(), vec![Versions { stable, canary, shadow }]);
    let versions: Vec<String> = (0..40).map(|_| found(&registry, None, None).unwrap().1).collect();
    assert_eq!(versions.iter().filter(|version| *version == "2").count(), 4, "{versions:?}");
    assert!(versions.chunks(10).all(|ten| ten.contains(&"2".to_string())), "not evenly: {versions:?}");
    assert!(!versions.contains(&"3".to_string()), "{versions:?}");
    for (asked, version) in [("stable", "1"), ("canary", "2"), ("1", "1"), ("2", "2"), ("3", "3")] {
        assert_eq!(found(&registry, Some("cat"), Some(asked)).unwrap().1, version);
    }
    let unknown = "model 'cat' has no version 'shadow'; it has '1', '2', '3'";
    assert_eq!(found(&registry, None, Some("shadow")).unwrap_err(), unknown);
    assert_eq!(registry.find(None, None).unwrap().model().version(), "1");
    let labels = |all: Vec<Version>| all.into_iter().map(|each| each.labels).collect::<Vec<_>>();
    let each = [Label::Stable, Label::Canary, Label::Shadow].map(|label| vec![label]);
    assert_eq!(labels(registry.versions("cat").unwrap()), each);
}

#[tokio::test]
async fn one_version_may_be_canary_and_shadow_and_is_one_of_two() {
    let registry = Registry::default();
    let cat = Model::made_up("cat", "1");
    let tried = classifier(cat.with_weights("2", Weights::new(Vec::new())));
    let (canary, shadow) = (Some((tried.clone(), 1.0)), Some(tried));
    registry.serve("cat".to_string(), vec![Versions { stable: classifier(cat), canary, shadow }]);
    let all = registry.all().unwrap().remove(0);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].labels, [Label::Canary, Label::Shadow]);
    assert_eq!(found(&registry, None, None).unwrap().1, "2", "a share of 1 is everybody");
}
