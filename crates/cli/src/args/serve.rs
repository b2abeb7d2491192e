//! The options of `kokeshi serve`. Each is a flag, an environment variable and a key of the
//! configuration file (`file.rs`).

use super::{DeviceArguments, seconds};
use crate::bytes;
use clap::{ArgAction, Args, ValueEnum};
use kokeshi_store::Address;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// TOML file with any of these options as keys (`max-items = 512`). Flags override environment
    /// variables, which override the file
    #[arg(long, value_name = "FILE", env = "KOKESHI_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Check the configuration and load the models, then exit without serving
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) address: AddressArguments,
    #[command(flatten)]
    pub(crate) models: ModelsArguments,
    #[command(flatten)]
    pub(crate) collections: CollectionsArguments,
    #[command(flatten)]
    pub(crate) access: AccessArguments,
    #[command(flatten)]
    pub(crate) limits: LimitArguments,
    #[command(flatten)]
    pub(crate) telemetry: TelemetryArguments,
    #[command(flatten, next_help_heading = "Device")]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Address")]
pub(crate) struct AddressArguments {
    /// Address to listen on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1", env = "KOKESHI_HOST")]
    pub(crate) host: IpAddr,
    /// Port; 0 selects a free one, which is printed
    #[arg(long, default_value_t = 8080, env = "KOKESHI_PORT")]
    pub(crate) port: u16,
    /// Certificate chain for TLS, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "KOKESHI_TLS_CERT")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key for TLS, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "KOKESHI_TLS_KEY")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Origin that browsers may send requests from, or `*`; repeatable. Without it, CORS is off
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', env = "KOKESHI_CORS_ORIGIN")]
    pub(crate) cors_origin: Vec<String>,
    /// Name of this server in requests, apart from `localhost`, or `*` for any; repeatable. Without
    /// keys on loopback, requests for other names are refused: foreign web pages send them
    #[arg(long, value_name = "NAME", value_delimiter = ',', env = "KOKESHI_ALLOW_HOST")]
    pub(crate) allow_host: Vec<String>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Models")]
pub(crate) struct ModelsArguments {
    /// Known name, hub id or folder of a model to serve, optionally with the NAME that clients use;
    /// repeatable. The first serves requests that do not name a model
    #[arg(
        long = "model",
        value_name = "[NAME=]MODEL",
        value_delimiter = ',',
        default_value = "starter",
        env = "KOKESHI_MODEL"
    )]
    pub(crate) models: Vec<String>,
    /// Task of requests that do not name one, for models that have it
    #[arg(long, value_name = "TASK", env = "KOKESHI_DEFAULT_TASK")]
    pub(crate) default_task: Option<String>,
    /// Join several `retrieval.query` inputs with late chunking into one document, as the hosted
    /// service does; by default they are embedded separately
    #[arg(long, env = "KOKESHI_JOIN_QUERIES")]
    pub(crate) join_queries: bool,
    /// Folder for the classifiers of `/v1/train`; without it, training is off
    #[arg(long, value_name = "FOLDER", env = "KOKESHI_CLASSIFIERS")]
    pub(crate) classifiers: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Collections")]
pub(crate) struct CollectionsArguments {
    /// Collection or alias to search and write over HTTP; its name, or NAME, also stands for the model
    /// of its vectors, and follows `kokeshi migrate switch`; repeatable
    #[arg(
        long = "collection",
        value_name = "[NAME=]COLLECTION",
        value_delimiter = ',',
        env = "KOKESHI_COLLECTION"
    )]
    pub(crate) collections: Vec<String>,
    /// Plan of `kokeshi migrate`; the name in its `switch`, or NAME, stands for the old model until
    /// the switch and for the new one after it, also for foreign collections; repeatable
    #[arg(
        long = "migration",
        value_name = "[NAME=]PLAN",
        value_delimiter = ',',
        env = "KOKESHI_MIGRATION"
    )]
    pub(crate) migrations: Vec<String>,
    /// Store of --collection [default: `.kokeshi/index.db` in the current folder or one above]
    #[arg(long, value_name = "STORE", env = "KOKESHI_STORE", hide_env_values = true)]
    pub(crate) store: Option<Address>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessArguments {
    /// TOML file of hashed API keys and their limits
    #[arg(long, value_name = "FILE", env = "KOKESHI_API_KEY_FILE")]
    pub(crate) api_key_file: Option<PathBuf>,
    /// Plain-text API key; repeatable. Prefer the variable: other users of the machine see flags
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        env = "KOKESHI_API_KEY",
        hide_env_values = true
    )]
    pub(crate) api_key: Vec<String>,
    /// Accept requests from other machines even if no key is configured
    #[arg(long, env = "KOKESHI_ALLOW_OPEN")]
    pub(crate) allow_open: bool,
    /// Serve /metrics without a key even if keys are configured
    #[arg(long, env = "KOKESHI_PUBLIC_METRICS")]
    pub(crate) public_metrics: bool,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArguments {
    /// Maximum size of a request's body
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = bytes::parse,
        default_value = "32MiB",
        env = "KOKESHI_MAX_BODY"
    )]
    pub(crate) max_body: usize,
    /// Maximum number of items in `input`
    #[arg(long, value_name = "N", default_value_t = 2048, env = "KOKESHI_MAX_ITEMS")]
    pub(crate) max_items: usize,
    /// Maximum number of tokens in a request
    #[arg(long, value_name = "N", default_value_t = 1 << 20, env = "KOKESHI_MAX_REQUEST_TOKENS")]
    pub(crate) max_request_tokens: usize,
    /// Maximum number of waiting and running tokens per model; more requests are refused with 429
    #[arg(long, value_name = "N", default_value_t = 1 << 18, env = "KOKESHI_QUEUE_TOKENS")]
    pub(crate) queue_tokens: usize,
    /// Maximum size of the bodies and unread answers of all requests together
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = bytes::parse,
        default_value = "512MiB",
        env = "KOKESHI_MAX_BUFFERED"
    )]
    pub(crate) max_buffered: usize,
    /// Maximum number of open connections; requests on others are refused with 429
    #[arg(long, value_name = "N", default_value_t = 1024, env = "KOKESHI_MAX_CONNECTIONS")]
    pub(crate) max_connections: usize,
    /// Maximum seconds for a request's headers, and between the requests of a connection
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "30",
        env = "KOKESHI_HEADER_TIMEOUT"
    )]
    pub(crate) header_timeout: Duration,
    /// Maximum seconds for a request's body
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "60",
        env = "KOKESHI_BODY_TIMEOUT"
    )]
    pub(crate) body_timeout: Duration,
    /// Maximum seconds in which a client reads nothing of its response
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "30",
        env = "KOKESHI_WRITE_TIMEOUT"
    )]
    pub(crate) write_timeout: Duration,
    /// Maximum seconds for a response, including the time in the queue
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "600",
        env = "KOKESHI_REQUEST_TIMEOUT"
    )]
    pub(crate) request_timeout: Duration,
    /// Maximum seconds for the forward pass of /ready
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "10",
        env = "KOKESHI_READY_TIMEOUT"
    )]
    pub(crate) ready_timeout: Duration,
    /// Maximum seconds for finishing accepted requests after a signal to stop
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = seconds,
        default_value = "30",
        env = "KOKESHI_DRAIN_TIMEOUT"
    )]
    pub(crate) drain_timeout: Duration,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Telemetry")]
pub(crate) struct TelemetryArguments {
    /// Format of the log on standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text, env = "KOKESHI_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    /// Least severe level to log
    #[arg(long, value_enum, default_value_t = LogLevel::Info, env = "KOKESHI_LOG_LEVEL")]
    pub(crate) log_level: LogLevel,
    /// Also log the texts of inputs
    #[arg(long, action = ArgAction::SetTrue, env = "KOKESHI_LOG_INPUTS")]
    pub(crate) log_inputs: bool,
    /// OpenTelemetry collector that receives one span per request (OTLP over HTTP), such as
    /// `http://localhost:4318`
    #[arg(long, value_name = "URL", env = "KOKESHI_OTLP_ENDPOINT")]
    pub(crate) otlp_endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Text for people
    Text,
    /// One JSON object per line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    /// Every request
    Info,
    Debug,
}

#[cfg(test)]
mod tests {
    use crate::args::Arguments;
    use clap::CommandFactory;

    #[test]
    fn the_documented_table_has_every_option_with_its_variable() {
        let table = include_str!("../../../../docs/serve.md");
        let command = Arguments::command();
        let serve = command.find_subcommand("serve").expect("the command");
        let mut variables = 0;
        for argument in serve.get_arguments().filter(|arg| arg.get_long() != Some("help")) {
            let flag = format!("`--{}`", argument.get_long().expect("a flag"));
            let mut rows = table.lines().filter(|line| line.starts_with("| `--"));
            let row = rows.find(|line| line.contains(&flag));
            let row = row.unwrap_or_else(|| panic!("{flag} is not in docs/serve.md"));
            if let Some(variable) = argument.get_env() {
                variables += 1;
                let variable = format!("`{}`", variable.to_str().expect("text"));
                assert!(row.contains(&variable), "{row}");
            }
        }
        assert!(variables > 25, "{variables}");
    }
}
