//! What is known of MCP.
