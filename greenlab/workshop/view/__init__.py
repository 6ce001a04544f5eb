"""What the workshop kit shows: the quiz on the page, the slides, the length of the sections."""

from greenlab.workshop.view.quiz import Quiz, quiz, quiz_html

__all__ = ["Quiz", "quiz", "quiz_html"]
