"""What a run says to people: today's portfolio, orders, the tear sheet, one chart per room."""
