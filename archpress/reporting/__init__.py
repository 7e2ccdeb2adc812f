"""Run folders and tables: reads what the stages wrote, computes nothing."""
