"""A small list to choose names from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from dashboard.drawing.theme import px


class NameChooser(QFrame):
    """A popup with a box per name; it closes with Escape or a click beside it.

    Parameters
    ----------
    parent : QWidget
        That it belongs to.
    names : sequence of str
    chosen : collection of str
    take : callable
        Is given the names that are chosen, in order, with every change.
    """

    def __init__(
        self, parent: QWidget, names: Sequence[str], chosen: Collection[str], take: Callable[[list[str]], None]
    ) -> None:
        super().__init__(parent, Qt.WindowType.Popup)
        self.setObjectName("card")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._take = take
        self.filter = QLineEdit()
        self.filter.setPlaceholderText("find")
        self.filter.textChanged.connect(self._find)
        self.list = QListWidget()
        for name in names:
            item = QListWidgetItem(name)
            item.setFlags(Qt.ItemFlag.ItemIsUserCheckable | Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            item.setCheckState(Qt.CheckState.Checked if name in chosen else Qt.CheckState.Unchecked)
            self.list.addItem(item)
        self.list.itemChanged.connect(self._changed)
        buttons = QHBoxLayout()
        for text, state in (("all", Qt.CheckState.Checked), ("none", Qt.CheckState.Unchecked)):
            button = QPushButton(text)
            button.clicked.connect(lambda _=False, state=state: self._set_all(state))
            buttons.addWidget(button)
        body = QVBoxLayout(self)
        body.setContentsMargins(px(8), px(8), px(8), px(8))
        body.addWidget(self.filter)
        body.addWidget(self.list)
        body.addLayout(buttons)
        self.resize(px(240), px(320))

    def open_below(self, widget: QWidget) -> None:
        """Show it below ``widget``, ready for the keyboard."""
        self.move(widget.mapToGlobal(QPoint(0, widget.height())))
        self.show()
        self.filter.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        if event.key() == Qt.Key.Key_Escape:
            self.close()
        else:
            super().keyPressEvent(event)

    def _items(self) -> list[QListWidgetItem]:
        return [self.list.item(i) for i in range(self.list.count())]

    def _find(self, text: str) -> None:
        for item in self._items():
            item.setHidden(text.lower() not in item.text().lower())

    def _set_all(self, state: Qt.CheckState) -> None:
        self.list.blockSignals(True)
        for item in self._items():
            # what is found, where something is looked for
            if not item.isHidden():
                item.setCheckState(state)
        self.list.blockSignals(False)
        self._changed()

    def _changed(self) -> None:
        self._take([item.text() for item in self._items() if item.checkState() == Qt.CheckState.Checked])
