"""The explorer: a Streamlit app that reads the lake through Trino and never writes to it."""
