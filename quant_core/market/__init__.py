"""The language of the domain: panels, calendars, sleeves, contracts. No stage, no storage."""
