"""What a comparison of evaluations says: verdict, tables, figures, one page of both."""
