//! A mailbox with very many messages: one is delivered, the others are copied from its row.

use crate::support::wire::Smtp;
use crate::support::{Home, Server};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

/// A server on `home` with `messages` in the mailbox of `address`, which is the first of the home.
pub(crate) fn serve(home: &Home, address: &str, messages: u32) -> Server {
    let server = home.serve();
    let one = Smtp::open(server.smtp).deliver("a@client.example", address, b"Subject: one\r\n\r\none\r\n");
    assert_eq!(one.code, 250);
    assert!(server.stop().status.success());
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(multiply(&home.data_dir().join("pillarbox.db"), messages));
    home.serve()
}

async fn multiply(database: &std::path::Path, messages: u32) {
    let sql = format!(
        "BEGIN;
        WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {messages})
        INSERT INTO message (mailbox, body, octets, received, head)
            SELECT mailbox, body, octets, received, head FROM message, n WHERE message.id = 1;
        UPDATE body SET copies = {messages};
        UPDATE mailbox SET octets = octets * {messages}, messages = {messages};
        COMMIT;"
    );
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(database);
    let mut connection = options.connect().await.expect("the database opens");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.expect("the rows are written");
    connection.close().await.expect("it closes");
}
