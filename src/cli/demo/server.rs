//! Two versions of one small MCP server, made with the official Rust SDK and served over
//! loopback with real sessions. The second version can go bad while it runs.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::dice::Dice;

/// Where both servers take MCP.
pub(super) const PATH: &str = "/mcp";
/// The field of a result's `structuredContent` that says which version answered.
pub(super) const VERSION_FIELD: &str = "answeredBy";
/// Share of calls that fail in a version that is well: nothing is perfect.
const EVERYDAY_FAILURES: f64 = 0.001;
/// Share of calls that fail once a version has gone bad.
const BAD_FAILURES: f64 = 0.4;
/// How many times slower a version is once it has gone bad.
const BAD_PACE: f64 = 1.5;

/// The tools: name, what it does, its argument, typical time in ms, whether it only reads.
pub(super) const TOOLS: [(&str, &str, &str, f64, bool); 4] = [
    (
        "search",
        "Find pages that match a query",
        "query",
        16.0,
        true,
    ),
    ("fetch", "Read one page as text", "url", 24.0, true),
    ("summarise", "Put a page in three lines", "text", 42.0, true),
    ("save_note", "Keep a note for later", "note", 9.0, false),
];

/// How one version behaves.
#[derive(Debug)]
pub(super) struct Manners {
    version: &'static str,
    /// Its times, as a multiple of the typical ones.
    pace: f64,
    gone_bad: AtomicBool,
    dice: Dice,
}

impl Manners {
    /// A version that is well.
    pub(super) fn new(version: &'static str, pace: f64) -> Self {
        Self {
            version,
            pace,
            gone_bad: AtomicBool::new(false),
            dice: Dice::new(pace.to_bits()),
        }
    }

    /// From now on some calls fail and all are slow.
    pub(super) fn go_bad(&self) {
        self.gone_bad.store(true, Ordering::Relaxed);
    }

    fn time_for(&self, typical_ms: f64) -> Duration {
        let spread = 0.7 + 0.6 * self.dice.roll();
        let tail = if self.dice.happens(0.04) { 2.0 } else { 1.0 };
        let bad = if self.is_bad() { BAD_PACE } else { 1.0 };
        Duration::from_secs_f64(typical_ms / 1000.0 * self.pace * spread * tail * bad)
    }

    fn fails(&self) -> bool {
        let share = if self.is_bad() {
            BAD_FAILURES
        } else {
            EVERYDAY_FAILURES
        };
        self.dice.happens(share)
    }

    fn is_bad(&self) -> bool {
        self.gone_bad.load(Ordering::Relaxed)
    }
}

/// What the SDK asks for each session.
#[derive(Clone, Debug)]
struct SearchServer {
    manners: Arc<Manners>,
}

impl ServerHandler for SearchServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("demo-search", self.manners.version))
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some((name, .., typical_ms, _)) = TOOLS.iter().find(|(name, ..)| request.name == *name)
        else {
            return Err(ErrorData::invalid_params("no such tool", None));
        };
        tokio::time::sleep(self.manners.time_for(*typical_ms)).await;
        let mut result = if self.manners.fails() {
            let words = format!("{name}: the index is not available");
            CallToolResult::error(vec![ContentBlock::text(words)])
        } else {
            CallToolResult::success(vec![ContentBlock::text(format!("{name}: done"))])
        };
        result.structured_content =
            Some(serde_json::json!({ VERSION_FIELD: self.manners.version }));
        Ok(result.into())
    }
}

fn tools() -> Vec<Tool> {
    let tool = |(name, does, argument, _, reads): (&'static str, &'static str, &str, f64, bool)| {
        let schema = serde_json::json!({
            "type": "object",
            "properties": { argument: { "type": "string" } },
            "required": [argument],
        });
        let schema: JsonObject = serde_json::from_value(schema).unwrap_or_default();
        Tool::new(name, does, schema).with_annotations(ToolAnnotations::new().read_only(reads))
    };
    TOOLS.into_iter().map(tool).collect()
}

/// Running servers; they stop when this is dropped.
#[derive(Debug)]
pub(super) struct Servers {
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Starts one server for each version, all on one thread of their own.
    ///
    /// # Errors
    /// When no loopback port or no thread can be had.
    pub(super) fn start(versions: Vec<Arc<Manners>>) -> std::io::Result<Self> {
        let mut listeners = Vec::new();
        for manners in versions {
            let listener = StdListener::bind(("127.0.0.1", 0))?;
            listener.set_nonblocking(true)?;
            listeners.push((listener, manners));
        }
        let addresses = listeners
            .iter()
            .map(|(listener, _)| listener.local_addr())
            .collect::<Result<_, _>>()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("demo-servers".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    let mut serving = JoinSet::new();
                    for (listener, manners) in listeners {
                        serving.spawn(serve(listener, manners, stopped.clone()));
                    }
                    serving.join_all().await;
                });
            })?;
        Ok(Self {
            addresses,
            stop,
            thread: Some(thread),
        })
    }

    /// Where each version listens, in the order that they were given.
    pub(super) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic over there has been printed already.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: StdListener, manners: Arc<Manners>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    let config = StreamableHttpServerConfig::default();
    let token = config.cancellation_token.clone();
    let mcp = StreamableHttpService::new(
        move || {
            Ok(SearchServer {
                manners: Arc::clone(&manners),
            })
        },
        Arc::new(LocalSessionManager::default()),
        config,
    );
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let mcp = mcp.clone();
                let answer = service_fn(move |request| {
                    let mcp = mcp.clone();
                    async move { Ok::<_, Infallible>(mcp.handle(request).await) }
                });
                connections.spawn(
                    http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), answer),
                );
            }
            Some(_) = connections.join_next() => {}
        }
    }
    token.cancel();
}
