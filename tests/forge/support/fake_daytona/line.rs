//! Connections that can be cut, and that are closed when they have been idle for long.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, Sleep};

/// Accepts connections.
#[derive(Debug)]
pub(crate) struct Lines {
    listener: TcpListener,
    idle: Option<Duration>,
}

impl Lines {
    /// Connections that are closed when they have been idle for so long; `None` is never.
    pub(crate) fn new(listener: TcpListener, idle: Option<Duration>) -> Self {
        Self { listener, idle }
    }
}

impl Listener for Lines {
    type Io = Line;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Line, SocketAddr) {
        loop {
            if let Ok((stream, address)) = self.listener.accept().await {
                drop(stream.set_nodelay(true));
                let line = Line {
                    stream,
                    end: End {
                        peer: address.ip(),
                        cut: Arc::default(),
                        requests: Arc::default(),
                    },
                    idle: self.idle,
                    closes: None,
                };
                return (line, address);
            }
            // Out of file descriptors, most likely: some connection will end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// This end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// Who is at the other one.
    pub(crate) peer: IpAddr,
    cut: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
}

impl End {
    /// Cuts the connection: nothing more is written to it.
    pub(crate) fn cut(&self) -> Response {
        self.cut.store(true, Ordering::SeqCst);
        Response::new(Body::empty())
    }

    /// Counts a request as under way until what this gives is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.keep_open();
        UnderWay(Arc::clone(&self.requests))
    }

    /// From now on the connection is never idle.
    pub(crate) fn keep_open(&self) {
        self.requests.fetch_add(1, Ordering::SeqCst);
    }
}

impl Connected<IncomingStream<'_, Lines>> for End {
    fn connect_info(stream: IncomingStream<'_, Lines>) -> Self {
        stream.io().end.clone()
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    end: End,
    idle: Option<Duration>,
    /// When it closes, if it stays idle until then.
    closes: Option<Pin<Box<Sleep>>>,
}

impl Line {
    fn check(&self) -> io::Result<()> {
        if self.end.cut.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }

    /// Whether it has been idle for too long. Wakes the task when that may have changed.
    fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let Some(idle) = self.idle else {
            return false;
        };
        if self.end.requests.load(Ordering::SeqCst) > 0 {
            self.closes = None;
            return false;
        }
        let closes = self
            .closes
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + idle)));
        closes.as_mut().poll(context).is_ready()
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if read.is_ready() {
            self.closes = None;
        } else if self.is_over(context) {
            // Nothing read: the end, as the server above sees it.
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        self.closes = None;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
