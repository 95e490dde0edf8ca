package Fanout::Tabs;

=head1 NAME

Fanout::Tabs - tabs of a real Chromium

=head1 SYNOPSIS

    use Fanout::Tabs;

    my $tabs = Fanout::Tabs->start;

    $tabs->open('ann', $nginx->uri('/'));
    $tabs->fill('ann', '#text', 'hello');
    $tabs->click('ann', '#send');

    ok($tabs->wait('bob', '.said', 'hello'));
    is_deeply($tabs->errors('ann'), []);

=head1 DESCRIPTION

Speaks to t/page/tabs.js, which drives Chromium by playwright-core. What they
need is installed by "t/tools/deps page": Chromium, Node, and
build/page/node_modules. Without these C<start> dies: a page that was not looked
at has not passed.

=over

=item open(tab, url, %o), close(tab)

A tab with storage and connections of its own; it is opened anew if there is one
of this name. Options: C<width>, C<height>, C<scheme> ("light" or "dark").

=item fill(tab, selector, text), click(tab, selector), press(tab, selector, key)

As a person would; they wait until it can be done and die when it can't.

=item wait(tab, selector, text)

Until an element is seen that holds the text; false at a time-out.

=item texts(tab, selector), evaluate(tab, code), errors(tab)

What all that match hold; the value of an expression; errors and warnings of
the console.

=item axe(tab)

What axe-core finds of accessibility that is serious or worse; [] is good.

=item resize(tab, width, height), screenshot(tab, path, full?)

=back

Environment: TEST_CHROMIUM, TEST_NODE_MODULES, TEST_TIMEOUT_SCALE.

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use IPC::Open2;

use Fanout::JSON;

my $root = abs_path(dirname(__FILE__) . '/../../..');


sub start {
    my ($class) = @_;

    local $ENV{NODE_PATH} = $ENV{TEST_NODE_MODULES}
                            || "$root/build/page/node_modules";

    -d "$ENV{NODE_PATH}/playwright-core"
        or die "no $ENV{NODE_PATH}/playwright-core: t/tools/deps page\n";

    my $pid = open2(my $out, my $in, 'node', "$root/t/page/tabs.js");

    $in->autoflush(1);

    return bless { pid => $pid, in => $in, out => $out, owner => $$ }, $class;
}


sub do {
    my ($self, $tab, $verb, %o) = @_;

    local $SIG{PIPE} = 'IGNORE';

    print { $self->{in} }
          Fanout::JSON::encode({ tab => $tab, do => $verb, %o }), "\n";

    my $line = readline $self->{out};

    die "$verb: the browser is gone\n" if !defined $line;

    my $answer = Fanout::JSON::decode($line);

    die "$verb in \"$tab\": $answer->{error}\n" if exists $answer->{error};

    return $answer->{ok};
}


sub open {
    my ($self, $tab, $url, %o) = @_;

    return $self->do($tab, 'open', url => $url, %o);
}


sub close    { $_[0]->do($_[1], 'close') }
sub axe      { $_[0]->do($_[1], 'axe') }
sub errors   { $_[0]->do($_[1], 'errors') }
sub texts    { $_[0]->do($_[1], 'texts', selector => $_[2]) }
sub evaluate { $_[0]->do($_[1], 'evaluate', code => $_[2]) }
sub click    { $_[0]->do($_[1], 'click', selector => $_[2]) }
sub wait     { $_[0]->do($_[1], 'wait', selector => $_[2], text => $_[3]) }
sub fill     { $_[0]->do($_[1], 'fill', selector => $_[2], text => $_[3]) }
sub press    { $_[0]->do($_[1], 'press', selector => $_[2], key => $_[3]) }
sub resize   { $_[0]->do($_[1], 'resize', width => $_[2], height => $_[3]) }


sub screenshot {
    my ($self, $tab, $path, $full) = @_;

    return $self->do($tab, 'screenshot', path => $path, full => $full);
}


# at the end of its input the driver closes the browser

sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner};

    local ($?, $!);

    CORE::close($self->{in});
    CORE::close($self->{out});
    waitpid $self->{pid}, 0;
}


1;
