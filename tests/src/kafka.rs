//! A real Apache Kafka (KRaft), one node or three, with the settings that make tests quick.
//!
//! Every node is broker and controller. A node can be killed with SIGKILL and started again on its data. The broker's
//! own log is quiet but for errors and one line at start. Clients of the tests reach it at [`Kafka::bootstrap`]; topics
//! are made by asking the broker itself ([`wire`]), so that the testkit needs no Kafka client library.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::ports::Port;
use crate::process::{Folder, Server, run};
use crate::{tools, wait};

pub mod wire;

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
/// Errors, and the line that says the node has started.
const LOG_CONFIG: &str = "\
status=error
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1}: %m%n
rootLogger.level=error
rootLogger.appenderRef.out.ref=out
logger.start.name=kafka.server.KafkaRaftServer
logger.start.level=info
";

/// How a cluster is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// 1 or 3. With 3: replication factor 3, two of them in sync for a write.
    pub nodes: u16,
    /// Full optimisation and a larger heap, for benches; starts 2 s slower.
    pub bench: bool,
    /// Clients are told another port than the node's own, on which the test lets them in; see [`Kafka::fronts`].
    pub fronted: bool,
    /// Further lines of `server.properties`; they win over the testkit's.
    pub properties: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, bench: false, fronted: false, properties: Vec::new() }
    }
}

/// A running cluster.
#[derive(Debug)]
pub struct Kafka {
    nodes: Vec<Node>,
    bench: bool,
    folder: Folder,
}

#[derive(Debug)]
struct Node {
    server: Option<Server>,
    port: Port,
    controller: Port,
    /// The port that clients are told, and the one that the other nodes use.
    front: Option<(Port, Port)>,
}

impl Kafka {
    /// Starts a cluster and waits until every node knows all nodes.
    ///
    /// # Errors
    /// When Kafka cannot be installed, or a node does not start: shows its log.
    pub fn start(options: &Options) -> Result<Self> {
        if options.nodes != 1 && options.nodes != 3 {
            bail!("a test cluster has 1 or 3 nodes, not {}", options.nodes);
        }
        let home = tools::kafka()?;
        let mut nodes = Vec::new();
        for _ in 0..options.nodes {
            let front = if options.fronted { Some((Port::free()?, Port::free()?)) } else { None };
            nodes.push(Node { server: None, port: Port::free()?, controller: Port::free()?, front });
        }
        let mut cluster = Self { nodes, bench: options.bench, folder: Folder::new("kafka")? };
        for index in 0..cluster.nodes.len() {
            cluster.lay_out(&home, index, options)?;
            cluster.spawn(index)?;
        }
        for index in 0..cluster.nodes.len() {
            cluster.await_node(index)?;
        }
        Ok(cluster)
    }

    /// Starts one node with default options.
    ///
    /// # Errors
    /// As [`Kafka::start`].
    pub fn one() -> Result<Self> {
        Self::start(&Options::default())
    }

    /// `host:port` of all nodes as clients are told, separated by commas.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let told = |node: &Node| node.front.as_ref().map_or(node.port.addr(), |(front, _)| front.addr());
        self.nodes.iter().map(|node| told(node).to_string()).collect::<Vec<_>>().join(",")
    }

    /// Where clients come, and where the node listens for them: somebody must carry bytes from one to the other, and so
    /// can cut or slow a node off from its clients. Empty unless the cluster is fronted.
    #[must_use]
    pub fn fronts(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.nodes.iter().filter_map(|node| Some((node.front.as_ref()?.0.addr(), node.port.addr()))).collect()
    }

    /// The number of nodes, running or not.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Process id of a running node (`index` from 0).
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.nodes.get(index)?.server.as_ref().map(Server::pid)
    }

    /// Kills one node with SIGKILL; its data stay.
    ///
    /// # Errors
    /// When there is no such node.
    pub fn kill9(&mut self, index: usize) -> Result<()> {
        self.node(index)?.server = None;
        Ok(())
    }

    /// Asks one node to end (SIGTERM) and waits for it; its data stay.
    ///
    /// # Errors
    /// When there is no such node or it does not end within 60 s.
    pub fn stop(&mut self, index: usize) -> Result<()> {
        match self.node(index)?.server.take() {
            Some(mut server) => server.stop(Duration::from_secs(60)),
            None => Ok(()),
        }
    }

    /// Starts one node again on its data (killing it first if it runs) and waits until it knows the others.
    ///
    /// # Errors
    /// When it does not start: shows its log.
    pub fn restart(&mut self, index: usize) -> Result<()> {
        self.kill9(index)?;
        self.spawn(index)?;
        self.await_node(index)
    }

    /// Starts a killed node without waiting for it; [`Kafka::is_up`] tells.
    ///
    /// # Errors
    /// When there is no such node or it cannot be started.
    pub fn start_node(&mut self, index: usize) -> Result<()> {
        self.kill9(index)?;
        self.spawn(index)
    }

    /// Whether the node answers and knows every node that runs.
    #[must_use]
    pub fn is_up(&self, index: usize) -> bool {
        let running = self.nodes.iter().filter(|node| node.server.is_some()).count();
        let node = self.nodes.get(index).filter(|node| node.server.is_some());
        node.is_some_and(|node| wire::brokers(node.port.addr()).is_ok_and(|known| known >= running))
    }

    /// Sends a signal by name (`STOP`, `CONT`) to a running node.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, index: usize, signal: &str) -> Result<()> {
        self.node(index)?.server.as_mut().context("node is not running")?.signal(signal)
    }

    /// Makes a topic with `partitions` on all nodes and waits until each partition has a leader.
    ///
    /// # Errors
    /// When it exists already or a setting is refused; the broker's reason is in the error.
    pub fn create_topic(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let addr = self.any_addr()?;
        let replicas = i16::try_from(self.nodes.len()).context("replicas")?;
        wire::create_topic(addr, topic, partitions, replicas, settings)?;
        wait::eventually(&format!("topic {topic} has leaders"), Duration::from_secs(30), || {
            Ok(wire::topic_ready(addr, topic, partitions)?.then_some(()))
        })
    }

    fn any_addr(&self) -> Result<SocketAddr> {
        let running = self.nodes.iter().find(|node| node.server.is_some());
        running.map(|node| node.port.addr()).context("no node of the cluster runs")
    }

    fn node(&mut self, index: usize) -> Result<&mut Node> {
        let count = self.nodes.len();
        self.nodes.get_mut(index).with_context(|| format!("no node {index} in a cluster of {count}"))
    }

    fn node_folder(&self, index: usize) -> std::path::PathBuf {
        self.folder.join(format!("n{index}"))
    }

    /// Writes a node's properties and its formatted data folder.
    fn lay_out(&self, home: &Path, index: usize, options: &Options) -> Result<()> {
        let here = self.node_folder(index);
        let data = here.join("data");
        fs::create_dir_all(&data).context("make a node's folder")?;
        fs::write(here.join("server.properties"), self.properties(index, options)?).context("write properties")?;
        for entry in fs::read_dir(home.join("formatted")).context("list the formatted folder")?.flatten() {
            fs::copy(entry.path(), data.join(entry.file_name())).context("copy the formatted folder")?;
        }
        let meta = format!(
            "node.id={}\ndirectory.id={}\nversion=1\ncluster.id={CLUSTER_ID}\n",
            index.saturating_add(1),
            directory_id()?
        );
        fs::write(data.join("meta.properties"), meta).context("write meta.properties")
    }

    fn properties(&self, index: usize, options: &Options) -> Result<String> {
        let node = self.nodes.get(index).context("node")?;
        let voters: Vec<String> =
            self.nodes.iter().zip(1..).map(|(node, id)| format!("{id}@{}", node.controller.addr())).collect();
        let (replicas, in_sync) = if self.nodes.len() == 3 { (3, 2) } else { (1, 1) };
        let (addr, controller) = (node.port.addr(), node.controller.addr());
        let data = self.node_folder(index).join("data");
        let listeners = match &node.front {
            None => format!(
                "listeners=PLAINTEXT://{addr},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{addr}"
            ),
            Some((front, inner)) => format!(
                "listeners=PLAINTEXT://{addr},INNER://{inner},CONTROLLER://{controller}\n\
                 advertised.listeners=PLAINTEXT://{front},INNER://{inner}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=INNER",
                front = front.addr(),
                inner = inner.addr(),
            ),
        };
        let mut text = format!(
            "process.roles=broker,controller\n\
             node.id={}\n\
             controller.quorum.voters={}\n\
             {listeners}\n\
             controller.listener.names=CONTROLLER\n\
             log.dirs={}\n\
             default.replication.factor={replicas}\n\
             min.insync.replicas={in_sync}\n\
             offsets.topic.replication.factor={replicas}\n\
             transaction.state.log.replication.factor={replicas}\n\
             transaction.state.log.min.isr={in_sync}\n\
             share.coordinator.state.topic.replication.factor={replicas}\n\
             share.coordinator.state.topic.min.isr={in_sync}\n",
            index.saturating_add(1),
            voters.join(","),
            data.display(),
        );
        text.push_str(QUICK);
        for (name, value) in &options.properties {
            writeln!(text, "{name}={value}").context("format a property")?;
        }
        Ok(text)
    }

    fn spawn(&mut self, index: usize) -> Result<()> {
        let (home, here) = (tools::kafka()?, self.node_folder(index));
        let mut command = java(&home)?;
        if self.bench {
            command.args(["-Xmx1g", "-XX:+UseG1GC"]);
        } else {
            command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        }
        command.current_dir(&here).arg("kafka.Kafka").arg(here.join("server.properties"));
        let server = Server::spawn(&format!("kafka node {index}"), &mut command, &here.join("log"))?;
        self.node(index)?.server = Some(server);
        Ok(())
    }

    fn await_node(&mut self, index: usize) -> Result<()> {
        // A node that is started beside dead ones cannot see more than those that run.
        let running = self.nodes.iter().filter(|node| node.server.is_some()).count();
        let node = self.node(index)?;
        let addr = node.port.addr();
        let server = node.server.as_mut().context("node is not running")?;
        server.ready(|| Ok(wire::brokers(addr)? >= running))
    }
}

/// `java` with the broker's class path and log configuration.
fn java(home: &Path) -> Result<Command> {
    let mut command = Command::new(tools::program("java")?);
    command.arg(format!("-Dlog4j2.configurationFile={}", home.join("log4j2.properties").display()));
    command.arg("-cp").arg(format!("{}/*", home.join("lib").display()));
    Ok(command)
}

/// Formats one data folder with Kafka's own tool and keeps its checkpoint of feature levels, the same for every node,
/// in `home/formatted`. Called once, at installation.
pub(crate) fn format_template(home: &Path) -> Result<()> {
    fs::write(home.join("log4j2.properties"), LOG_CONFIG).context("write log4j2.properties")?;
    let formatted = home.join("formatted");
    let properties = home.join("format.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:1\n\
         listeners=PLAINTEXT://127.0.0.1:2,CONTROLLER://127.0.0.1:1\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n",
        formatted.display()
    );
    fs::write(&properties, text).context("write format.properties")?;
    let mut command = java(home)?;
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]).arg(&properties);
    run(&mut command).context("format the template of a broker's data folder")?;
    fs::remove_file(formatted.join("meta.properties")).context("remove the template's own identity")
}

/// 16 random bytes in Kafka's spelling: 22 characters of base64url, of which the last carries two bits.
fn directory_id() -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0_u8; 22];
    let mut source = fs::File::open("/dev/urandom").context("open /dev/urandom")?;
    std::io::Read::read_exact(&mut source, &mut random).context("read /dev/urandom")?;
    let mut id = String::with_capacity(22);
    for (place, byte) in random.into_iter().enumerate() {
        let mask = if place == 0 {
            0x1f
        } else if place == 21 {
            0x30
        } else {
            0x3f
        };
        id.push(ALPHABET.get(usize::from(byte & mask)).copied().map(char::from).context("alphabet")?);
    }
    Ok(id)
}

/// What makes tests quick: small internal topics, no wait at a group's first join, short sessions, quick fail-over,
/// quick cleaning; and a small cleaner buffer (128 MiB by default, touched at start).
const QUICK: &str = "\
auto.create.topics.enable=false
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=8388608
log.cleaner.backoff.ms=200
log.initial.task.delay.ms=500
log.retention.check.interval.ms=1000
log.segment.delete.delay.ms=1000
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=200
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=3000
group.consumer.assignment.interval.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=300
controller.quorum.fetch.timeout.ms=1500
controller.quorum.election.timeout.ms=700
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_ids_are_canonical_and_distinct() {
        let (one, two) = (directory_id().unwrap(), directory_id().unwrap());
        assert_eq!(one.len(), 22);
        assert!("AQgw".contains(one.chars().last().unwrap()), "{one}");
        assert!(!one.starts_with('-'));
        assert_ne!(one, two);
    }

    #[test]
    fn other_sizes_are_refused() {
        let error = Kafka::start(&Options { nodes: 2, ..Options::default() }).unwrap_err();
        assert!(error.to_string().contains("1 or 3 nodes"));
    }
}
