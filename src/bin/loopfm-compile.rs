//! The `loopfm-compile` command: `loopfm compile` under a name of its own.

fn main() -> std::process::ExitCode {
    loopfm::cli::loopfm_compile()
}
