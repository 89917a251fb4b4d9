//! Pages of the reference are what the program prints; `make reference` writes them.

use system_tests::docs::pages::repository;
use system_tests::docs::reference;

#[test]
fn pages_of_the_reference_are_what_the_program_prints() {
    let is_written = std::env::var_os("WSP_REFERENCE").is_some_and(|what| what == "write");
    for (page, text) in reference::pages() {
        let path = repository().join(page);
        if is_written {
            std::fs::write(&path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        let differs = kept
            .lines()
            .zip(text.lines())
            .find(|(kept, text)| kept != text);
        assert!(
            kept == text,
            "{page} is not what the program prints (`make reference`): {differs:?}"
        );
    }
}
