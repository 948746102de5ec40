//! `readme`: runs every command of the README's blocks marked `sh` (not those marked `sh norun`), so it cannot go stale.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Runs each block with `sh -eu` at the root.
pub(crate) fn run() -> Result<()> {
    let text = std::fs::read_to_string("README.md").context("read README.md")?;
    let blocks = blocks(&text);
    if blocks.is_empty() {
        bail!("README.md has no block marked `sh`");
    }
    for block in blocks {
        println!("$ {}", block.trim_end().replace('\n', "\n$ "));
        let mut command = Command::new("sh");
        command.env("CARGO_TARGET_DIR", shell::target()?).args(["-eu", "-c", &block]);
        shell::run(&mut command).context("a command of the README")?;
    }
    Ok(())
}

fn blocks(text: &str) -> Vec<String> {
    let (mut blocks, mut open): (Vec<String>, Option<(bool, String)>) = (Vec::new(), None);
    for line in text.lines() {
        match (&mut open, line.trim().strip_prefix("```")) {
            (None, Some(tag)) => open = Some((tag.trim() == "sh", String::new())),
            (Some(_), Some(_)) => {
                if let Some((true, block)) = open.take() {
                    blocks.push(block);
                }
            }
            (Some((_, block)), None) => {
                block.push_str(line.strip_prefix("$ ").unwrap_or(line));
                block.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runnable_blocks() {
        let text = "a\n```sh\n$ true\nfalse\n```\n```sh norun\nx\n```\n```text\ny\n```\n";
        assert_eq!(blocks(text), ["true\nfalse\n"]);
    }
}
