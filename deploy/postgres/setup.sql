-- Run as PostgreSQL's administrator: psql -v password="'…'" -f setup.sql
-- One role that owns one database; nothing else may connect to it.
CREATE ROLE fablab LOGIN PASSWORD :password;
CREATE DATABASE fablab OWNER fablab ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE fablab FROM PUBLIC;
