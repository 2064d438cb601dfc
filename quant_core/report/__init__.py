"""Shows a run to people: today's portfolio, orders, the tear sheet, one chart per room."""
