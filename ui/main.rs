//! Only to run the screen until the commands land.
mod tui;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let path = std::env::args_os().nth(1).unwrap_or_default();
    let endpoint = fracta::control::client::Endpoint::Unix(path.into());
    let client = fracta::control::client::Client::new(&endpoint)?;
    tui::run(client, tui::Options::default()).await
}
