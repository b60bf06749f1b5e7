"""Spec -> Plan or refusal. Pure: values in, values out; no clock, no files, no network."""
