//! The page of metrics, read.

/// The sum of a metric's series that have all of these words.
pub fn sum(page: &str, name: &str, words: &[&str]) -> f64 {
    let of = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
    let wanted = of.filter(|line| words.iter().all(|word| line.contains(word)));
    wanted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
