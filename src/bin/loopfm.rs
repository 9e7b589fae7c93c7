//! The `loopfm` command.

fn main() -> std::process::ExitCode {
    loopfm::cli::loopfm()
}
