"""The command that shows a policy to people: report. It works on files alone, without torch."""
