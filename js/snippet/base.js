// The queue keeps each call's time, because the tag may arrive seconds later.
(function (w, d, s) {
  if (w.collect && w.collect.queue) return; // an element of that id has none
  w.collect = function () {
    collect.queue.push([Date.now(), arguments]);
  };
  collect.queue = [];
  s = d.createElement('script');
  s.async = 1;
  s.src = '{{script}}';
  PIN: s.integrity = '{{integrity}}';
  PIN: s.crossOrigin = 'anonymous';
  d.head.appendChild(s);
})(window, document);
