//! placeholder
use super::farm::FarmHandle;
use tokio::net::TcpListener;
pub(super) async fn serve(_listener: TcpListener, _farms: Vec<FarmHandle>) {
    std::future::pending::<()>().await
}
